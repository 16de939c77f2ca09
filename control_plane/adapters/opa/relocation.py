"""A policy set as OPA holds it: every revision under a name of its own, so that several rule side by side.

`package setpoint.permits.x` becomes `package setpoint.sets.r_REVISION.setpoint.permits.x`, and `data.` in a module
becomes `data.setpoint.sets.r_REVISION.`: a revision sees its own packages and its own data, and nothing else. `input.`
becomes `data.setpoint.question.asked.`, a rule that is the input: OPA indexes what compares the input with constants
and then leaves out whole rules, with the errors that they would have ended in. regorus looks at them, and so must OPA.
What `some` walks goes through a function that ends in an error where there is nothing to walk: by itself OPA
walks a number as if it were empty.

Lines stay where they are, so that an error still names the user's.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from control_plane.adapters.regorus.asked import InputView
from control_plane.adapters.regorus.assembly import reads_of
from control_plane.adapters.regorus.checks import data_document, parsed
from control_plane.adapters.regorus.module_checks import ENTRIES
from control_plane.adapters.regorus.syntax import Module, is_test, parse, references, walk
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.ports.policy_engine import PolicySet

ROOT: Final = "setpoint"
"""All that a bundle holds lies below it."""

QUESTION: Final = (
    "setpoint/question.rego",
    b"""package setpoint.question

asked := input

walked(given) := given if is_array(given)

walked(given) := given if is_object(given)

walked(given) := given if is_set(given)

# There is no other way to end in an error than a function that does.
walked(given) := to_number("what is walked is no array, object or set") if {
	not is_array(given)
	not is_object(given)
	not is_set(given)
}
""",
)
_ASKED: Final = ("data", "setpoint", "question", "asked")
_WALKED: Final = "data.setpoint.question.walked("

_REVISION: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_NO_SLUG: Final = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RelocatedSet:
    """One revision: the files of a bundle, by path, and what of an input its policies read."""

    revision: str
    files: Mapping[str, bytes]
    names: Mapping[str, str]
    """The module that stands in a file, as people know it."""
    view: InputView

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(len(content) for content in self.files.values())


def ruling_path(revision: str) -> str:
    """Where OPA answers what a revision rules, below `/v1/data/`."""
    return f"setpoint/rulings/r_{revision}/ruling"


def relocated(policies: PolicySet) -> RelocatedSet:
    """The set, checked as the embedded engine checks it. Raises InvalidWorkspace with all its flaws."""
    modules, flaws = parsed([module for module in policies.modules if not is_test(module[0])])
    _, wrong = data_document(policies.data)
    if not _REVISION.fullmatch(policies.revision):
        wrong.append(_flaw(policies.revision, "a revision of this form cannot be told apart in OPA"))
    if flaws or wrong:
        raise InvalidWorkspace([*flaws, *wrong])
    folder = f"setpoint/sets/r_{policies.revision}"
    names = {f"{folder}/{n:03}_{_slug(module.file)}.rego": module for n, module in enumerate(modules)}
    files = {path: _moved(module, policies.revision) for path, module in names.items()}
    files[f"{folder}/data.json"] = canonical_json({name: msgspec.json.decode(text) for name, text in policies.data})
    files[f"setpoint/rulings/r_{policies.revision}.rego"] = _rulings(modules, policies.revision)
    return RelocatedSet(
        revision=policies.revision,
        files=files,
        names={path: module.file for path, module in names.items()},
        view=InputView(reads_of(modules)),
    )


def in_own_words(text: str, revision: str) -> str:
    """What OPA says of a module, with the names that its author gave."""
    return text.replace(f"data.setpoint.sets.r_{revision}.", "data.").replace(".".join(_ASKED), "input")


def canonical_json(value: Any) -> bytes:
    """JSON in the one form that OPA hashes: keys sorted, no blanks, and escaped as Go escapes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()


def _rulings(modules: Sequence[Module], revision: str) -> bytes:
    """One rule that gathers every reason of the revision, and says which revision it is."""
    lines = [f"package setpoint.rulings.r_{revision}", f'revision := "{revision}"']
    lines.append('ruling := {"revision": revision, "found": found}')
    lines.append("found contains reason if some reason in []")
    for module in modules:
        for rule in module.rules:
            if rule.name in ENTRIES.get(module.kind, ()):
                place = ".".join((ROOT, "sets", f"r_{revision}", *module.package, rule.name))
                lines.append(f'found contains ["{rule.name}", "{module.by}", reason] if some reason in data.{place}')
    return "\n\n".join(dict.fromkeys(lines)).encode() + b"\n"


def _moved(module: Module, revision: str) -> bytes:
    own = ("setpoint", "sets", f"r_{revision}")
    head = next(iter(_root_of(module.tree["package"]["refr"]).values()))["span"]
    edits = [(head["start"], head["end"], ".".join((*own, "setpoint")))]
    for part in ("imports", "rules"):
        for kind, node in walk({"List": {"items": module.tree[part]}}):
            new = {"data": ("data", *own), "input": _ASKED}.get(node["value"]) if kind == "Var" else None
            if new is not None:
                edits.append((node["span"]["start"], node["span"]["end"], ".".join(new)))
            if kind == "SomeIn":
                span = next(iter(node["collection"].values()))["span"]
                edits += [(span["start"], span["start"], _WALKED), (span["end"], span["end"], ")")]
    text = module.source
    # From the back. Where one is put before what another replaces, the replacing comes first.
    for start, end, put in sorted(set(edits), reverse=True):
        text = text[:start] + put.encode() + text[end:]
    _check_move(module, text.decode(), own)
    return text


def _root_of(node: dict[str, Any]) -> dict[str, Any]:
    """The first name of a dotted path."""
    below = next(iter(node.values()))
    return _root_of(below["refr"]) if "refr" in below else node


def _check_move(module: Module, text: str, own: tuple[str, ...]) -> None:
    """The edits trust the spans of a parser, so what came of them is compared with what was meant."""
    again = parse(module.file, text)
    if not isinstance(again, Module):
        raise InvalidWorkspace([again])
    meant = [_meant(path, own) for _, path, _ in references(module.tree["rules"])]
    if again.package != (*own, *module.package) or [path for _, path, _ in references(again.tree["rules"])] != meant:
        raise InvalidWorkspace([_flaw(module.file, "the module cannot be given a name of its own in OPA")])


def _meant(path: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    match path[0]:
        case "data":
            return ("data", *own, *path[1:])
        case "input":
            return (*_ASKED, *path[1:])
        case _:
            return path


def _slug(name: str) -> str:
    return _NO_SLUG.sub("_", name.removesuffix(".rego").lower())[-64:]


def _flaw(file: str, problem: str) -> Flaw:
    return Flaw(file=file, line=0, column=0, problem=problem, cure="Please report it with the module.")
