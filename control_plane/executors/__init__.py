"""Who acts: the built-in executors, a file per kind, and `dispatch`, which makes each command one act."""

from control_plane.executors.building import build_executor, executor_kinds, wrong_in
from control_plane.executors.dispatch import Dispatch, DispatchBounds, DispatchCounters
from control_plane.executors.tools import DefinitionInvalid, ExecutorTools

__all__ = [
    "DefinitionInvalid",
    "Dispatch",
    "DispatchBounds",
    "DispatchCounters",
    "ExecutorTools",
    "build_executor",
    "executor_kinds",
    "wrong_in",
]
