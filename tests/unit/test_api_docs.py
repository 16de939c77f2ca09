"""The page for people about the API needs nothing from any other host, and runs only what it names."""

import re

import pytest

from tests.unit.api_world import a_world

ADDRESSES = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


async def page() -> tuple[str, dict[str, str]]:
    async with a_world().client(key=None) as client:
        answer = await client.get("/docs")
    assert answer.status_code == 200
    return answer.text, dict(answer.headers)


async def test_everything_that_the_page_names_is_served_here_without_a_key() -> None:
    text, _ = await page()
    named = ADDRESSES.findall(text)

    assert {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "docs/begin.js"} <= set(named)
    async with a_world().client(key=None) as client:
        for address in named:
            assert "//" not in address
            answer = await client.get(f"/{address}")
            assert answer.status_code == 200, address
            assert len(answer.content) > 0


@pytest.mark.parametrize(
    ("name", "kind", "holds"),
    [
        ("swagger-ui-bundle.js", "text/javascript", b"SwaggerUIBundle"),
        ("swagger-ui.css", "text/css", b".swagger-ui"),
        ("begin.js", "text/javascript", b"openapi.json"),
        ("favicon.png", "image/png", b"\x89PNG"),
    ],
)
async def test_each_file_says_what_it_is_and_may_be_kept_for_a_while(name: str, kind: str, holds: bytes) -> None:
    async with a_world().client(key=None) as client:
        answer = await client.get(f"/docs/{name}")
        again = await client.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["etag"]})

    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "max-age=" in answer.headers["cache-control"]
    assert holds in answer.content
    assert again.status_code == 304


async def test_the_page_may_run_its_own_files_only_and_ask_nobody_else() -> None:
    text, headers = await page()
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["style-src"]
    assert "<style" not in text
    assert re.findall(r"<script(?![^>]*src=)", text) == []
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs/nothing.js", "/docs/../api.key", "/docs/redoc.standalone.js", "/redoc"])
async def test_nothing_else_is_served_beside_it(path: str) -> None:
    async with a_world().client(key=None) as client:
        assert (await client.get(path)).status_code == 401


async def test_the_page_is_no_part_of_the_api() -> None:
    assert not [path for path in a_world().app.openapi()["paths"] if path.startswith("/docs")]


async def test_every_route_stands_under_one_heading() -> None:
    for path, methods in a_world().app.openapi()["paths"].items():
        for operation in methods.values():
            assert len(operation["tags"]) == 1, path
