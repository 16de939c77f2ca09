"""The REST app, whole: routes, the gate around them, problem details for every error, and OpenAPI."""

from typing import Any

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from control_plane.api import problems
from control_plane.api.bundles import bundle_routes
from control_plane.api.cancelling import cancel_routes
from control_plane.api.controls import control_routes
from control_plane.api.dead_letters import dead_letter_routes
from control_plane.api.decisions import command_routes, decision_routes, effect_routes
from control_plane.api.docs import docs_routes
from control_plane.api.dossier import dossier_routes
from control_plane.api.events import event_routes
from control_plane.api.flows import flow_routes
from control_plane.api.gate import Gate
from control_plane.api.health import health_routes
from control_plane.api.hooks import hook_routes
from control_plane.api.letter_book import LetterBook
from control_plane.api.measuring import Measured
from control_plane.api.partitions import partition_routes
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import Problem
from control_plane.api.proposals import proposal_routes
from control_plane.api.reading import Reader
from control_plane.api.schemas import schema_routes
from control_plane.api.streaming import Streams
from control_plane.settings import setpoint_version

_DESCRIPTION = """Events in, decisions and what became of them out.

Every route under `/v1` wants `Authorization: Bearer KEY`, and so does a webhook that has no secret of its own. Errors
are problem details (RFC 9457) with `field` and `cure`. Lists are keyset-paged: `limit`, `after`, and a `Link` header.
Times are RFC 3339 in UTC."""


def create_app(ports: ApiPorts) -> FastAPI:
    """The app over these ports. `app.state.streams.stop()` ends its streams when the server is to stop."""
    app = FastAPI(
        title="Setpoint",
        version=setpoint_version(),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    reader, streams = Reader(ports.metrics), Streams(ports.audit, ports.metrics)
    letters = LetterBook(ports.audit, reader.left_out, ports.metrics)
    app.state.streams = streams
    # Judged by the gate; named here so that OpenAPI says it.
    key = Security(HTTPBearer(auto_error=False, description="The key of the service."))
    for router in (
        event_routes(ports, reader, streams),
        decision_routes(ports, reader),
        dossier_routes(ports),
        proposal_routes(ports),
        command_routes(ports, reader),
        cancel_routes(ports),
        effect_routes(ports, reader),
        flow_routes(ports, reader, letters),
        dead_letter_routes(ports, letters),
        control_routes(ports),
        schema_routes(ports),
        hook_routes(ports),
        bundle_routes(ports),
        partition_routes(ports),
    ):
        app.include_router(router, dependencies=[key])
    app.include_router(health_routes(ports, letters.refresh))
    app.include_router(docs_routes())
    problems.install(app)
    app.add_middleware(
        Gate,
        key=ports.key,
        on_loopback=ports.on_loopback,
        metrics=ports.metrics,
        webhooks=ports.webhooks,
        bundles=ports.bundles,
    )
    app.add_middleware(Measured, metrics=ports.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with the shape of problem details, which no route returns and every route may answer with."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        app.openapi_schema = found
    return app.openapi_schema
