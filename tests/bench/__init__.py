"""Measurements against something real, interleaved in one run. Ratios count; a figure is never a test."""
