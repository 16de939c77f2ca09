"""Pure folds: `(part, event) -> part`. Each owns one part of the row and nothing else."""

from state.projections.declared import Field, Projection

__all__ = ["Field", "Projection"]
