"""Kills of the real service under load, judged from outside: what went in, what the world saw, what the log holds."""
