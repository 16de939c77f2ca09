"""Faust, without the HTTP client that it loads to name its type: 0.1 s at every start, most of it for certificates.

The first module of this room to be imported.
"""

from control_plane.adapters.left_out import left_out

with left_out("aiohttp.client", "ClientSession"):
    import faust.types

__all__ = ["faust"]
