"""Tells facts to a service, as somebody else's system would: by webhook."""

from collections.abc import Sequence
from typing import Any

import httpx

from control_plane.bootstrap.service import Service
from control_plane.errors import TemporaryError


class Teller:
    """Sends facts to one webhook of a service."""

    def __init__(self, service: Service, client: httpx.AsyncClient, trigger: str) -> None:
        assert service.rest is not None, "the service serves REST"
        self._url = f"{service.rest.url}/hooks/{trigger}"
        self._key = service.settings.api_key_file.read_text().strip()
        self._client = client

    async def tell(self, facts: Sequence[dict[str, Any]]) -> None:
        """Send facts. Raises TemporaryError when they are not taken."""
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            (await self._client.post(self._url, json={"facts": list(facts)}, headers=headers)).raise_for_status()
        except httpx.HTTPError as exc:
            raise TemporaryError(f"the webhook did not take {len(facts)} facts: {exc!r}") from exc
