"""The Expressions port on CEL. Programs are compiled once; a scope copies only what some program on it reads."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from control_plane.adapters.cel.flatten import flatten
from control_plane.adapters.cel.program import CelProgram, CelScope, compiled
from control_plane.adapters.cel.sieve import CelSieve
from control_plane.ports.expressions import ExpressionInvalid, Program, Sieve

EXPRESSION_CHARS_MAX = 2_000
"""Longer text is refused. It also bounds nesting: at 20,000 levels the library overflows the stack."""


class CelExpressions:
    """Compiles CEL. Programs are for scopes of the same adapter, on one thread."""

    def compile(self, text: str) -> "CelProgram":
        """Raises ExpressionInvalid, with the column where it is known."""
        if len(text) > EXPRESSION_CHARS_MAX:
            raise ExpressionInvalid(f"the expression has {len(text)} characters, more than {EXPRESSION_CHARS_MAX}")
        compiled(text)
        return CelProgram(text, flatten(text))

    def scope(self, variables: Mapping[str, Any], programs: Sequence[Program] = ()) -> "CelScope":
        """A scope that copies what a program reads when it is first evaluated, or at once for the programs given.

        At once is cheaper: after an evaluation the library copies all it holds before it takes another variable.
        """
        scope = CelScope(variables)
        for program in programs:
            assert isinstance(program, CelProgram), "programs and scopes come from one adapter"
            scope.provide(program.needs)
        return scope

    def sieve(self, programs: Sequence[Program]) -> Sieve:
        """The programs, to be asked together which of them hold."""
        return CelSieve(cast(Sequence[CelProgram], programs))
