"""A running service over REST. What it refuses becomes a message with its cure; what does not answer, exit code 3."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from control_plane.cli.exits import BAD_USAGE, CANNOT_REACH, FOUND_WRONG, CommandError
from control_plane.cli.places import service_at

TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0
PAGE_ITEMS_MAX: Final = 500


class Client:
    """One service. Use `service`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON that a route answers with; parameters of None are left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._answer(self._http.get(path, params=given)).json()

    def get_if_there(self, path: str) -> Any:
        """The JSON that a route answers with; None when it has nothing of this name."""
        response = self._http.get(path)
        return None if response.status_code == httpx.codes.NOT_FOUND else self._answer(response).json()

    def post(self, path: str, content: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that a route answers with to a body."""
        given = {"Content-Type": content_type, **(headers or {})}
        return self._answer(self._http.post(path, content=content, headers=given)).json()

    def put(self, path: str, content: bytes, headers: Mapping[str, str]) -> Any:
        """The JSON that a route answers with to a JSON body."""
        given = {"Content-Type": "application/json", **headers}
        return self._answer(self._http.put(path, content=content, headers=given)).json()

    def items(self, path: str, limit: int, **parameters: Any) -> list[dict[str, Any]]:
        """So many items of a list, over as many pages as that takes."""
        found: list[dict[str, Any]] = []
        after: int | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(limit - len(found), PAGE_ITEMS_MAX), after=after, **parameters)
            found += page["items"]
            after = page["next_after"]
            if after is None:
                break
        return found

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], **parameters: Any) -> Iterator[Iterator[str]]:
        """The lines of a stream, for as long as it lasts."""
        given = {name: value for name, value in parameters.items() if value is not None}
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with self._http.stream("GET", path, params=given, headers=dict(headers), timeout=timeout) as response:
            if not response.is_success:
                response.read()
            self._answer(response)
            yield response.iter_lines()

    def _answer(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            raise _refused(response.json(), response.status_code)
        raise CommandError(
            f"{response.url} answered {response.status_code}: that is no Setpoint. Check --url.", CANNOT_REACH
        )


@contextmanager
def service(url: str | None, workspace: Path) -> Iterator[Client]:
    """The service of a workspace, or the one at a URL. Raises CommandError when it does not answer."""
    address, key = service_at(url, workspace)
    headers = {"Authorization": f"Bearer {key}"}
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        # Proxies of the environment are for the world outside; a service is asked directly. Certificates cost 50 ms.
        secure = address.startswith("https://")
        with httpx.Client(base_url=address, headers=headers, timeout=timeout, trust_env=False, verify=secure) as http:
            yield Client(http)
    except httpx.InvalidURL as exc:
        raise CommandError(f"{address!r} is no URL of a service ({exc}). Nothing was sent.", BAD_USAGE) from exc
    except httpx.TransportError as exc:
        raise CommandError(
            f"the service at {address} cannot be reached ({exc}). Start it with `setpoint up`, or name it with --url.",
            CANNOT_REACH,
        ) from exc


def _refused(problem: Mapping[str, Any], status: int) -> CommandError:
    """The service answered with a problem."""
    field = f"{problem['field']}: " if problem.get("field") else ""
    message = f"{field}{problem.get('detail', 'refused')}. {problem.get('cure', '')}".strip()
    flaws = [_flaw_line(flaw) for flaw in problem.get("flaws", ())]
    return CommandError("\n".join([*flaws, message]), _code(status))


def _flaw_line(flaw: Mapping[str, Any]) -> str:
    return f"{flaw['file']}: {flaw['problem']}. {flaw['cure']}"


def _code(status: int) -> int:
    if status == 401:
        return BAD_USAGE
    return CANNOT_REACH if status in (502, 503, 504) else FOUND_WRONG
