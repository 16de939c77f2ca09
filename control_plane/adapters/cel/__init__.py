"""Expressions in CEL, by `common-expression-language`, in this process."""

from control_plane.adapters.cel.expressions import CelExpressions

__all__ = ["CelExpressions"]
