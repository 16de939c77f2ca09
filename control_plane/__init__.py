"""Setpoint's control plane: the loop, what governs it and how it meets the world.

Read `cycle.py` first: it is the whole loop in memory, in one screen.
"""
