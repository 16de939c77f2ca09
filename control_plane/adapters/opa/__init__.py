"""Policy by Open Policy Agent, a server beside us: asked over HTTP or a unix socket, fed by signed bundles."""

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.bundle import Bundle
from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import RelocatedSet, relocated
from control_plane.adapters.opa.shelf import BundleShelf
from control_plane.adapters.opa.signing import BundleKey

__all__ = ["Bundle", "BundleKey", "BundleShelf", "OpaAddress", "OpaEngine", "RelocatedSet", "relocated"]
