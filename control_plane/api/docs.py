"""The page for people about the API: Swagger UI, whose files come with a package. No other host is asked for anything.

Its Content-Security-Policy lets it run these files and no more, so that no answer of the API can run anything.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.responses import FileResponse

PATH: Final = "/docs"
KEEP_S: Final = 3600
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff"}
_OWN: Final = Path(__file__).parent / "static"
_FILES: Final[Mapping[str, str]] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_OWN_FILES: Final[Mapping[str, str]] = {"begin.js": "text/javascript"}

OPEN: Final = frozenset({PATH, *(f"{PATH}/{name}" for name in (*_FILES, *_OWN_FILES))})
"""What the page is made of; none of it is secret."""


def docs_routes() -> APIRouter:
    """The page and its files."""
    router = APIRouter(include_in_schema=False)
    page = (_OWN / "docs.html").read_text()

    @router.get(PATH)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY, **_NO_SNIFFING})

    for name, kind in _FILES.items():
        _serve(router, _packaged(name), kind)
    for name, kind in _OWN_FILES.items():
        _serve(router, _OWN / name, kind)
    return router


def _serve(router: APIRouter, file: Path, kind: str) -> None:
    headers = {"Cache-Control": f"public, max-age={KEEP_S}", **_NO_SNIFFING}

    @router.get(f"{PATH}/{file.name}")
    async def served(request: Request) -> Response:
        answer = FileResponse(file, media_type=kind, headers=headers, stat_result=file.stat())
        if request.headers.get("if-none-match") == answer.headers["etag"]:
            return Response(status_code=304, headers={"ETag": answer.headers["etag"], **headers})
        return answer


def _packaged(name: str) -> Path:
    """A file of the package that ships Swagger UI; its code is not loaded."""
    found = find_spec("fastapi_offline")
    assert found is not None, "fastapi-offline is a dependency"
    assert found.submodule_search_locations, "fastapi-offline is a package of files"
    return Path(found.submodule_search_locations[0]) / "static" / name
