"""Held requests, as a running Lockgate's control API has them."""

from __future__ import annotations

from collections.abc import Iterator
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

    def approve(self, review_id: str, content_digest: str, comment: str) -> dict[str, Any]:
        return self.call("POST", f"{_path(review_id)}/approve", {"content_digest": content_digest, "comment": comment})

    def reject(self, review_id: str, comment: str) -> dict[str, Any]:
        return self.call("POST", f"{_path(review_id)}/reject", {"comment": comment})


def _path(review_id: str) -> str:
    return f"/v1/reviews/{quote(review_id, safe='')}"
