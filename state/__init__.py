"""Shared materialised state: rows, and the projections that fold them. Written by the loop, read by everybody through
it."""
