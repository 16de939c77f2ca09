"""Routes for the schemas of events: which are in force, which were, and what Setpoint's own messages look like."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from control_plane.api.paging import FILTER_CHARS_MAX
from control_plane.api.ports import ApiPorts
from control_plane.api.problems import ProblemError, documented
from control_plane.catalogue import ControlItem
from control_plane.messages.wire import json_schemas

VERSION_MAX: Final = 1_000_000
_OWN_VERSION: Final = 1
_Type = Annotated[str, Path(max_length=FILTER_CHARS_MAX, description="An event type, or an own message's.")]


class SchemaItem(BaseModel):
    """One version of the schema of one event type."""

    type: str = Field(description="The event type; `setpoint.` begins those of Setpoint's own messages.")
    version: int = Field(description="Counts from 1 in the order of their first publication.")
    versions: int = Field(description="How many there are.")
    revision: str = Field(description="Digest of type and schema.")
    in_force: bool
    of: Literal["workspace", "setpoint"] = Field(description="Who declares it.")


class SchemaDetail(SchemaItem):
    """The same with the schema."""

    json_schema: dict[str, Any] | bool = Field(alias="schema", serialization_alias="schema")


class SchemaList(BaseModel):
    """The schemas that are in force."""

    items: list[SchemaItem]


def schema_routes(ports: ApiPorts) -> APIRouter:
    """The routes under /v1/schemas."""
    router = APIRouter(prefix="/v1/schemas", tags=["schemas"])

    @router.get("", summary="List schemas", response_model=SchemaList, responses=documented())
    async def listed() -> SchemaList:
        """The schema of each event type that has one, and of each of Setpoint's own messages."""
        own = [SchemaItem(**_own(name)) for name in sorted(_OWN)]
        return SchemaList(items=[*(item for found in _all(ports).values() for item in found if item.in_force), *own])

    @router.get("/{type}", summary="Show a schema", response_model=SchemaDetail, responses=documented(404, 422))
    async def shown(
        type: _Type, version: Annotated[int | None, Query(ge=1, le=VERSION_MAX, description="An older one.")] = None
    ) -> SchemaDetail:
        """The schema that events of a type are judged by, or one that they were judged by."""
        if type in _OWN:
            return SchemaDetail(**_own(type), schema=_OWN[type])
        versions = _all(ports).get(type, [])
        wanted = [item for item in versions if (item.in_force if version is None else item.version == version)]
        if not wanted:
            raise ProblemError.not_found("schema", type, "/v1/schemas")
        body = _bodies(ports)[type][wanted[0].version - 1].body
        return SchemaDetail(**wanted[0].model_dump(), schema=msgspec.json.decode(body))

    @router.get(
        "/{type}/versions",
        summary="List a schema's versions",
        response_model=SchemaList,
        responses=documented(404, 422),
    )
    async def versions(type: _Type) -> SchemaList:
        """Every version that was ever published, the oldest first."""
        found = [SchemaItem(**_own(type))] if type in _OWN else _all(ports).get(type)
        if not found:
            raise ProblemError.not_found("schema", type, "/v1/schemas")
        return SchemaList(items=found)

    return router


_OWN: Final[Mapping[str, dict[str, Any]]] = {
    f"setpoint.{urn.split(':')[3]}": schema for urn, schema in json_schemas().items()
}


def _bodies(ports: ApiPorts) -> Mapping[str, Sequence[ControlItem]]:
    return ports.desk.versions("schema")


def _all(ports: ApiPorts) -> dict[str, list[SchemaItem]]:
    in_force = {item.key for item in ports.desk.items if item.kind == "schema"}
    return {
        name: [
            SchemaItem(
                type=name,
                version=n,
                versions=len(found),
                revision=item.revision,
                in_force=item.key in in_force,
                of="workspace",
            )
            for n, item in enumerate(found, start=1)
        ]
        for name, found in sorted(_bodies(ports).items())
    }


def _own(name: str) -> dict[str, Any]:
    return {
        "type": name,
        "version": _OWN_VERSION,
        "versions": 1,
        "revision": f"urn:setpoint:schema:{name.removeprefix('setpoint.')}:{_OWN_VERSION}",
        "in_force": True,
        "of": "setpoint",
    }
