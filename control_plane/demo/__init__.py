"""Demos: a real loop on this machine, broken for real, that ends by itself with a scorecard. See `command`."""
