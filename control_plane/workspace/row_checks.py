"""Row parts: every field is folded in one way, from what an event holds, and all of them fit into a subject's row."""

from collections.abc import Callable, Mapping, Sequence

from control_plane.catalogue.definitions import FieldDefinition, RowDefinition
from control_plane.ports.expressions import ExpressionInvalid, Expressions
from control_plane.workspace.compiling import FieldInvalid, compile_field
from control_plane.workspace.declarations import Declarations, Declared
from control_plane.workspace.expression_checks import ExpressionChecks
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.yaml_tree import Node
from state.projections import KINDS, PARTS_BYTES_MAX, Field, Projection

WHEN_FOLDED = frozenset({"data"})
"""What a field can read."""

COUNTING = ("count", "rate", "first_seen", "last_seen")
"""Ways of folding that take any event, and whose `of` is an event type."""

Part = tuple[Declared[RowDefinition], Projection]


def check_rows(
    rows: Declarations[RowDefinition],
    expressions: Expressions,
    checks_of: Callable[[Declared[RowDefinition]], ExpressionChecks],
    flaws: Flaws,
) -> None:
    """Check all of them, each by itself and then together."""
    parts: list[Part] = []
    for found, row in rows.sound():
        before = len(flaws)
        _check_types(found, row, flaws)
        fields = [_field(found, name, row, expressions, checks_of(found), flaws) for name in row.fields]
        if len(flaws) == before:
            part = Projection(name=row.row, on=row.on, fields=[field for field in fields if field is not None])
            if _fits_alone(found, part, flaws):
                parts.append((found, part))
    _check_together(parts, flaws)


def _check_types(found: Declared[RowDefinition], row: RowDefinition, flaws: Flaws) -> None:
    node = found.node.get("on")
    for at, event_type in enumerate(row.on):
        if event_type in row.on[:at]:
            place = node.value[at] if node is not None else None
            flaws.add(found.file, place, f"on names {event_type} a second time", "Take one of them out.")


def _field(
    found: Declared[RowDefinition],
    name: str,
    row: RowDefinition,
    expressions: Expressions,
    checks: ExpressionChecks,
    flaws: Flaws,
) -> Field | None:
    """The field, or None when it has flaws, which are added."""
    node, field, before = found.node.get("fields", name) or found.node, row.fields[name], len(flaws)
    for kind in KINDS:
        how = getattr(field, kind)
        if isinstance(how, str):
            checks.check(kind, node.get(kind), WHEN_FOLDED)
        elif kind in COUNTING:
            _check_counted(found.file, name, node.get(kind, "of"), how, row.on, flaws)
        elif how is not None:
            checks.check("of", node.get(kind, "of"), WHEN_FOLDED)
    return _compiled(found.file, node, name, field, expressions, flaws) if len(flaws) == before else None


def _check_counted(file: str, name: str, node: Node | None, how: object, on: Sequence[str], flaws: Flaws) -> None:
    of = getattr(how, "of", None)
    if of is not None and of not in on:
        cure = did_you_mean(of, on, f"Add {of} to on.")
        flaws.add(file, node, f"{name} counts {of}, but the row is not fed by it", cure)


def _compiled(
    file: str, node: Node, name: str, field: FieldDefinition, expressions: Expressions, flaws: Flaws
) -> Field | None:
    try:
        return compile_field(name, field, expressions)
    except FieldInvalid as exc:
        place = next((found for kind in KINDS if (found := node.get(kind, exc.key))), node)
        flaws.add(file, place, exc.problem, exc.cure)
    except ExpressionInvalid as exc:
        flaws.add(file, node, f"{name} cannot be read: {exc}", "Change it.")
    return None


def _fits_alone(found: Declared[RowDefinition], part: Projection, flaws: Flaws) -> bool:
    if part.bytes_max <= PARTS_BYTES_MAX:
        return True
    problem = (
        f"{part.name} may take {part.bytes_max} bytes of a subject's row, and only {PARTS_BYTES_MAX} are for parts"
    )
    flaws.add(found.file, found.node.get("fields"), problem, _less_of(part.bytes_by_field))
    return False


def _check_together(parts: Sequence[Part], flaws: Flaws) -> None:
    """Parts that one event type feeds meet in one row; of others nobody knows."""
    refused: set[tuple[str, ...]] = set()
    for event_type in sorted({event_type for _, part in parts for event_type in part.on}):
        fed = [(found, part) for found, part in parts if event_type in part.on]
        names, bytes_max = tuple(part.name for _, part in fed), sum(part.bytes_max for _, part in fed)
        if bytes_max <= PARTS_BYTES_MAX or names in refused:
            continue
        refused.add(names)
        found = fed[-1][0]
        problem = (
            f"{event_type} feeds {', '.join(names)}, which together may take {bytes_max} bytes of a subject's row, "
            f"and only {PARTS_BYTES_MAX} are for parts"
        )
        flaws.add(found.file, found.node.get("on"), problem, _less_of({part.name: part.bytes_max for _, part in fed}))
    bytes_max = sum(part.bytes_max for _, part in parts)
    if not refused and bytes_max > PARTS_BYTES_MAX:
        problem = (
            f"all rows together may take {bytes_max} bytes, and only {PARTS_BYTES_MAX} of a subject's row are for them"
        )
        cure = "Keep less, unless no subject is fed by all of them: events that its row has no room for are not folded."
        flaws.warn(parts[-1][0].file, parts[-1][0].node, problem, cure)


def _less_of(bytes_by_name: Mapping[str, int]) -> str:
    largest = sorted(bytes_by_name, key=lambda name: (-bytes_by_name[name], name))[:3]
    return f"Keep less, of these above all: {', '.join(f'{name} ({bytes_by_name[name]} bytes)' for name in largest)}."
