"""Requests for tests of the stages, as a front door would build them."""

from __future__ import annotations

import json
from typing import Any

from router.decision import ANONYMOUS, BodyView, Request


def request_of(body: BodyView) -> Request:
    return Request("r-1", 0, "gateway", ANONYMOUS, "POST", "halden.example", "/", body=body)


def text_request(text: str, **body: Any) -> Request:
    return request_of(BodyView(text.encode("utf-8", "surrogatepass"), "digest", text=text, **body))


def json_request(document: Any, text: str | None = None) -> Request:
    return request_of(BodyView(json.dumps(document).encode(), "digest", text=text, json=document))
