"""Speaks to a running Lockgate's control API, with the standard library."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

import click

from router.errors import LockgateError
from router.workspace import parse, read

TIMEOUT_S = 60.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # an address to listen on is none to call


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the key to whoever is named in it."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ReviewClient:
    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise click.BadParameter("must be an http or https URL such as http://127.0.0.1:8081", param_hint="--url")
        if not key or not key.isascii() or not key.isprintable():
            raise click.BadParameter("must be an API key, as `lockgate keys create` printed it", param_hint="--key")
        self._url = url.rstrip("/")
        self._key = key
        # No proxy either: what the environment names for the web is not meant for this.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), _NoRedirects, HTTPSHandler(context=ssl.create_default_context()))

    def all(self, state: str | None) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            wanted = {name: value for name, value in (("state", state), ("cursor", cursor)) if value is not None}
            page = self._call("GET", f"/v1/reviews?{urlencode(wanted)}")
            yield from page["reviews"]
            cursor = page["next"]
            if cursor is None:
                return

    def show(self, review_id: str) -> dict[str, Any]:
        return self._call("GET", _path(review_id))

    def approve(self, review_id: str, content_digest: str, comment: str) -> dict[str, Any]:
        return self._call("POST", f"{_path(review_id)}/approve", {"content_digest": content_digest, "comment": comment})

    def reject(self, review_id: str, comment: str) -> dict[str, Any]:
        return self._call("POST", f"{_path(review_id)}/reject", {"comment": comment})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        request = Request(self._url + path, data, headers, method=method)  # noqa: S310  # the scheme was checked
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return _document(answer.read())
        except HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (URLError, TimeoutError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise LockgateError(f"No Lockgate answers at {self._url}: {reason}.", "control_unreachable") from None


def control_url(config: Path) -> str:
    """Where the workspace's control API listens. Raises ConfigError."""
    control = parse(read(config, os.environ), os.environ).config.control
    if control.listen.port == 0:
        raise click.UsageError("The control API listens on a port that the system chose; name it with --url.")
    host = ANYWHERE.get(control.listen.host, control.listen.host)
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if control.tls is None else 'https'}://{shown}:{control.listen.port}"


def _path(review_id: str) -> str:
    return f"/v1/reviews/{quote(review_id, safe='')}"


def _document(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("the answer is not one of Lockgate's")
    return found


def _refusal(error: HTTPError) -> LockgateError:
    try:
        problem = _document(error.read())
    except (ValueError, OSError, HTTPException):
        problem = {}
    code = str(problem.get("code", "control_refused"))
    return LockgateError(str(problem.get("detail") or problem.get("title") or f"The answer was HTTP {error.code}."), code)
