"""Policy by Open Policy Agent, a server beside us: asked over HTTP or a unix socket, fed by signed bundles.

Names are imported from their modules: what only reads or checks must not load an HTTP client.
"""
