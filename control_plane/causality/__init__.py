"""Where every message comes from: identity, flow, parents and generations."""

from control_plane.causality.lineage import Lineage, digest

__all__ = ["Lineage", "digest"]
