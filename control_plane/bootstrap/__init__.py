"""Puts the house together: the only room that names concrete classes, with the demo beside it.

This file imports nothing, so that who needs one part pays for no other: `workshop` reads a workspace without a log, a
store or REST; `records` reads a log; `service` runs.
"""
