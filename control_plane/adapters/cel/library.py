"""The CEL library without the command line that its package loads: a terminal and its colours, 0.1 s at every start."""

from control_plane.adapters.left_out import left_out

with left_out("cel.cli"):
    import cel

__all__ = ["cel"]
