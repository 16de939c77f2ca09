"""A trigger's definition in, the trigger out."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.triggers.process_probe import ProcessProbe, ProcessProbeKeys
from control_plane.triggers.trigger import Publish, Trigger

_DECLARED_BESIDE = frozenset({"name", "kind", "file"})

_KINDS: Mapping[str, tuple[type[Struct], Callable[[str, Any, Publish], Trigger]]] = {
    "process_probe": (ProcessProbeKeys, ProcessProbe),
}


def trigger_kinds() -> Mapping[str, type[Struct]]:
    """The shape of each kind's own keys."""
    return {kind: shape for kind, (shape, _) in _KINDS.items()}


def build_trigger(definition: Mapping[str, Any], publish: Publish) -> Trigger:
    """The trigger that a workspace declares; it was checked when the workspace was read."""
    shape, build = _KINDS[definition["kind"]]
    keys = {key: value for key, value in definition.items() if key not in _DECLARED_BESIDE}
    return build(definition["name"], msgspec.convert(keys, shape), publish)
