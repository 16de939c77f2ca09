"""Bugs that somebody might make, each as a patch: whether the simulation or a test would have found it."""
