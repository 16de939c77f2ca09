"""Pure folds: `(part, event) -> part`. Each owns one part of the row and nothing else."""

from state.projections.declared import KINDS, PARTS_BYTES_MAX, Field, Gaps, Projection
from state.projections.windows import WINDOW_MS_MIN, Window

__all__ = ["KINDS", "PARTS_BYTES_MAX", "WINDOW_MS_MIN", "Field", "Gaps", "Projection", "Window"]
