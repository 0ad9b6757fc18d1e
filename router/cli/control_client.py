"""Speaks to a running Lockgate's control API, with the standard library."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Mapping
from http.client import HTTPException, RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

import click

from router.cli.control_options import trust
from router.errors import LockgateError
from router.workspace import without_policies

TIMEOUT_S = 60.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # an address to listen on is none to call


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the key to whoever is named in it."""

    def redirect_request(self, *_: Any) -> None:
        return None


NOTHING: Mapping[str, str] = {}


class ControlClient:
    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise click.BadParameter("must be an http or https URL such as http://127.0.0.1:8081", param_hint="--url")
        shown = trust()
        if not key and shown.certificate is None:
            raise click.UsageError("Give an API key with --key or LOCKGATE_KEY, or a client certificate with --client-cert.")
        if not key.isascii() or not key.isprintable():
            raise click.BadParameter("must be an API key, as `lockgate keys create` printed it", param_hint="--key")
        self._url = url.rstrip("/")
        self._key = key
        self._anonymous = urlsplit(url).scheme == "https" and shown.certificate is None
        # No proxy either: what the environment names for the web is not meant for this.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), _NoRedirects, HTTPSHandler(context=shown.context()))

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Raises LockgateError with what the other side says."""
        return self._sent(method, path, None if body is None else json.dumps(body).encode(), "application/json", headers or {})

    def send_files(self, path: str, files: Mapping[str, bytes]) -> dict[str, Any]:
        """As a form (RFC 7578)."""
        boundary = secrets.token_hex(16)
        told = 'content-disposition: form-data; name="{0}"; filename="{0}"'
        parts = (f"--{boundary}\r\n{told.format(name)}\r\n\r\n".encode() + content + b"\r\n" for name, content in files.items())
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self._sent("POST", path, body, f"multipart/form-data; boundary={boundary}")

    def _sent(self, method: str, path: str, data: bytes | None, content_type: str, more: Mapping[str, str] = NOTHING) -> dict[str, Any]:
        headers = {**more, "content-type": content_type, **({"authorization": f"Bearer {self._key}"} if self._key else {})}
        request = Request(self._url + path, data, headers, method=method)  # noqa: S310  # the scheme was checked
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return _document(answer.read())
        except HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (URLError, TimeoutError, HTTPException, OSError, ValueError) as error:
            reason = f"{getattr(error, 'reason', error)}"
            if self._anonymous and _hung_up(error):
                reason += "; it may want a client certificate (--client-cert)"
            raise LockgateError(f"No Lockgate answers at {self._url}: {reason}.", "control_unreachable") from None


def control_url(config: Path) -> str:
    """Where the workspace's control API listens. Raises ConfigError."""
    control = without_policies(config, os.environ).config.control
    if control.listen.port == 0:
        raise click.UsageError("The control API listens on a port that the system chose; name it with --url.")
    host = ANYWHERE.get(control.listen.host, control.listen.host)
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if control.tls is None else 'https'}://{shown}:{control.listen.port}"


def _hung_up(error: Exception) -> bool:
    """What a caller without a certificate sees where one is required: TLS 1.3 says so only after the handshake, if at all."""
    cause = getattr(error, "reason", error)
    return isinstance(cause, RemoteDisconnected | ConnectionError) or (
        isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError)
    )


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
    said = str(problem.get("detail") or problem.get("title") or f"The answer was HTTP {error.code}.")
    faults = problem.get("faults")
    lines = [each for each in faults if isinstance(each, str)] if isinstance(faults, list) else []
    return LockgateError("\n".join((said, *lines)), code)
