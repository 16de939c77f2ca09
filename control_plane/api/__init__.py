"""REST: events in, what became of them out. Reads the audit store and appends to the log; never touches tables."""

from control_plane.api.app import create_app
from control_plane.api.keys import ApiKey, api_key_for
from control_plane.api.ports import ApiPorts
from control_plane.api.serving import RestServer

__all__ = ["ApiKey", "ApiPorts", "RestServer", "api_key_for", "create_app"]
