"""Held requests, as a running Lockgate's control API has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from router.cli.control_client import ControlClient


class ReviewClient(ControlClient):
    def all(self, state: str | None) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            wanted = {name: value for name, value in (("state", state), ("cursor", cursor)) if value is not None}
            page = self.call("GET", f"/v1/reviews?{urlencode(wanted)}")
            yield from page["reviews"]
            cursor = page["next"]
            if cursor is None:
                return

    def show(self, review_id: str) -> dict[str, Any]:
        return self.call("GET", _path(review_id))

    def values(self, review_id: str) -> dict[str, Any]:
        return self.call("GET", f"{_path(review_id)}/values")

    def question(self, review_id: str) -> dict[str, Any]:
        return self.call("GET", f"{_path(review_id)}/question")

    def attempt(self, review_id: str, kind: str, body: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
        """`version` of what was seen: of another one nothing happens."""
        headers = {} if version is None else {"if-match": f'"{version}"'}
        return self.call("POST", f"{_path(review_id)}/{kind}", body, headers)


def _path(review_id: str) -> str:
    return f"/v1/reviews/{quote(review_id, safe='')}"
