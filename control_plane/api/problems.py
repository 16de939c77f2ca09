"""Every error that a client sees: problem details (RFC 9457) with the field and the cure."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from control_plane.errors import InvalidMessage, SetpointError, StorageFull, TemporaryError

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
CAUSE: Final = "setpoint.cause"
"""Where an ASGI scope holds the code of the problem that it ended with, for metrics."""

_log = logging.getLogger(__name__)

_STATUS_BY_CODE: Final[Mapping[str, int]] = {
    "json_broken": 400,
    "content_type_unsupported": 415,
    "too_large": 413,
    "body_too_large": 413,
    "batch_too_long": 413,
    "too_many_items": 413,
}
_OTHERWISE: Final = 422


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A URN that names the kind of problem; its last part is for machines.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, and what was not done.")
    field: str | None = Field(default=None, description="Where in the request it is wrong, if in one place.")
    cure: str = Field(description="What to change.")


class ProblemError(Exception):
    """A problem that a route answers with."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        cure: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.cure = cure
        self.field = field
        self.headers = dict(headers or {})
        self.more = more

    @classmethod
    def not_found(cls, what: str, wanted: str, listing: str) -> "ProblemError":
        """Nothing of this kind has the id."""
        return cls(
            404,
            f"{what}_not_found",
            f"no {what.replace('_', ' ')} {wanted!r} is recorded",
            f"Look it up with GET {listing}; what was just decided is recorded a moment later.",
        )

    def response(self) -> JSONResponse:
        """The answer."""
        body = {
            "type": f"urn:setpoint:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "field": self.field,
            "cure": self.cure,
            **self.more,
        }
        kept = {name: value for name, value in body.items() if value is not None}
        return JSONResponse(kept, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def problem_of(exc: SetpointError) -> ProblemError:
    """How one of our errors is told to a client."""
    if isinstance(exc, InvalidMessage):
        status = _STATUS_BY_CODE.get(exc.code, _OTHERWISE)
        return ProblemError(status, exc.code, exc.detail, exc.cure, field=exc.field)
    if isinstance(exc, TemporaryError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return ProblemError(503, "unavailable", str(exc), "Try again; see GET /health/ready.", headers=headers)
    if isinstance(exc, StorageFull):
        return ProblemError(
            507, "storage_full", str(exc), "Make room on the disk of the data directory, then send again."
        )
    return ProblemError(500, "internal", str(exc), "Read the log of the service; `setpoint doctor` looks for causes.")


def install(app: FastAPI) -> None:
    """Answer every error of the app with problem details."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(SetpointError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_framework)
    app.add_exception_handler(Exception, _on_bug)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route for OpenAPI; what every route can answer is added to those named."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({401, 500, 503, *statuses})
    }


async def _on_problem(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ProblemError)
    return _answer(request, exc)


async def _on_ours(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, SetpointError)
    problem = problem_of(exc)
    if problem.status >= 500:
        _log.error("request could not be served", extra={"path": request.url.path, "error": str(exc)})
    return _answer(request, problem)


async def _on_invalid(request: Request, exc: Exception) -> JSONResponse:
    """Only query, path and header parameters come here: bodies are judged by ourselves."""
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    place = [str(step) for step in first["loc"]]
    field = place[-1] if place else None
    detail = f"{' '.join(place)}: {first['msg']}"
    return _answer(
        request, ProblemError(422, "parameter_invalid", detail, "Correct the parameter; see /docs.", field=field)
    )


async def _on_framework(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    phrase = HTTPStatus(exc.status_code).phrase
    cures = {404: "See /docs for the routes that there are.", 405: "See /docs for what this route takes."}
    asked = f"{request.method} {request.url.path}"
    problem = ProblemError(
        exc.status_code,
        phrase.lower().replace(" ", "_"),
        f"{asked}: {phrase.lower()}",
        cures.get(exc.status_code, "See /docs."),
        headers=exc.headers,
    )
    return _answer(request, problem)


async def _on_bug(request: Request, exc: Exception) -> JSONResponse:
    """Our own fault: the server logs it with its traceback; the client learns no more than that."""
    detail = "the service failed on this request; whether it was carried out is not known"
    return _answer(request, ProblemError(500, "internal", detail, "Read the log of the service."))


def _answer(request: Request, problem: ProblemError) -> JSONResponse:
    request.scope[CAUSE] = problem.code
    return problem.response()
