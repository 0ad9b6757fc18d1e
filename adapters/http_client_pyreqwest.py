"""HTTP/1.1 to one upstream with pyreqwest (Rust: reqwest on hyper): the fastest client by itself, but its threads have to be woken.

What it cannot do, seen in 0.15.1:
* Cancelling a request before its head arrives does not abort it; so `idle` and `total` are also set inside the library, and a request
  nobody waits for any more ends by them. After the head, `close` drops the connection at once.
* A URL is normalised (dot segments, backslashes). What would reach the upstream as another path is refused, not sent.
* Header values outside ASCII can be sent when they are UTF-8, and cannot be read at all.
* A request without `accept` or `user-agent` gets `accept: */*` (which means the same, RFC 9110 §12.5.1) and an empty `user-agent`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    ClientClosedError,
    ConnectError,
    ConnectTimeoutError,
    DecodeError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.http import Url
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response, ResponseBodyReader

from adapters.http_upstream.client import ClientOptions, bodyless, content_length
from adapters.http_upstream.failures import failure
from adapters.http_upstream.tls import context
from router.errors import ConfigError, DestinationError
from router.ports import Headers

# Everything the URL parser leaves as it is. A dot after a slash or an encoded dot may be a dot segment: looked at more closely.
UNTOUCHED = re.compile(r"/(?:(?!/\.|%2[eE])[A-Za-z0-9\-._~!$&()*+,;=:@/%])*(?:\?[A-Za-z0-9\-._~!$&()*+,;=:@/?%]*)?")


class PyreqwestClient:
    """`upload` is for streamed request bodies: there the library's read time-out starts before the body is sent, so `idle` cannot be it."""

    def __init__(self, options: ClientOptions) -> None:
        self._origin = options.origin if options.server_name is None else _named(options.origin, options.server_name)
        self._plain = _client(options, options.idle)
        self._upload = _client(options, options.total)

    async def request(self, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]) -> PyreqwestExchange:
        if UNTOUCHED.fullmatch(target) is None or target.startswith("/."):
            _refuse_rewriting(self._origin, target)
        upload = not isinstance(body, bytes)
        try:
            builder = (self._upload if upload else self._plain).request(method, self._origin + target)
            builder = builder.headers([(name.decode(), value.decode()) for name, value in headers])
            if isinstance(body, bytes):
                if body:
                    builder = builder.body_bytes(body)
            else:
                builder = builder.body_stream(body)
            # 0: hand over the head at once. The default waits for 64 KiB or the end, which would hold back every event stream.
            request = builder.streamed_read_buffer_limit(0).build_streamed()
        except UnicodeDecodeError:
            raise failure("request_unsendable", "a header field is not UTF-8, so the request cannot be sent as it is") from None
        except ValueError as error:
            raise failure("request_unsendable", f"the request cannot be sent as it is: {error}") from error
        try:
            response = await request.__aenter__()
        except PyreqwestError as error:
            raise translated(error) from error
        if "content-length" in response.headers and "transfer-encoding" in response.headers:  # the library heeds one, and tells both
            await request.__aexit__(None, None, None)
            raise failure("upstream_protocol", "the upstream's response has two framings (RFC 9112 §6.3)", sent=True)
        try:
            return PyreqwestExchange(request, response, method)
        except ValueError as error:
            await request.__aexit__(None, None, None)
            raise failure(
                "upstream_protocol", "the upstream sent a header with bytes outside ASCII; client: aiohttp passes them", sent=True
            ) from error

    async def close(self) -> None:
        await self._plain.close()
        await self._upload.close()


class PyreqwestExchange:
    __slots__ = ("_left", "_reader", "_request", "_response", "done", "headers", "status")

    def __init__(self, request: StreamRequest, response: Response, method: str) -> None:
        self.status = response.status
        self.headers: Headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in response.headers.items()]
        self._request: StreamRequest | None = request
        self._response = response
        self._reader: ResponseBodyReader | None = None
        self._left = 0 if bodyless(method, self.status) else content_length(self.headers)
        self.done = self._left == 0

    async def read(self) -> bytes:
        if self.done:
            return b""
        if self._reader is None:
            self._reader = self._response.body_reader
        try:
            piece = await self._reader.read_chunk()
        except PyreqwestError as error:
            raise translated(error) from error
        if piece is None:
            self.done = True
            return b""
        chunk = bytes(piece)
        if self._left is not None:
            self._left -= len(chunk)
            self.done = self._left <= 0
        return chunk

    async def close(self) -> None:
        request, self._request = self._request, None
        if request is not None and not self.done:
            await request.__aexit__(None, None, None)


def translated(error: PyreqwestError) -> DestinationError:
    """The only place where the library's errors become ours. Its classes mix phases up, so the causes it lists decide."""
    details = getattr(error, "details", None) or {}
    causes = " / ".join(cause["message"] for cause in details.get("causes") or ())
    connecting = "client error (Connect)" in causes
    if isinstance(error, RequestTimeoutError):
        if connecting and isinstance(error, ConnectTimeoutError):
            return failure("connect_timeout", "the upstream did not accept a connection in time")
        return failure("upstream_idle", "the upstream sent nothing in time", sent=True)
    if connecting:
        lowered = causes.lower()
        if "certificate" in lowered or "tls" in lowered or "handshake" in lowered or "corrupt message" in lowered:
            return failure("tls_failed", "no TLS connection with the upstream could be made")
        return failure("connect_failed", "no connection to the upstream could be made")
    if "user body write aborted" in causes:
        return failure("upstream_reset", "the request body was shorter than its content-length, and broken off", sent=True)
    if isinstance(error, ConnectError) or ("error reading a body" in causes and "invalid" not in causes.lower()):
        return failure("upstream_reset", "the upstream closed the connection before its response was complete", sent=True)
    if isinstance(error, ClientClosedError):
        return failure("upstream_reset", "the destination was closed while the request ran", sent=True)
    if isinstance(error, DecodeError) or "body" in causes:
        return failure("upstream_protocol", "the upstream's response is not valid HTTP/1.1", sent=True)
    return failure("upstream_reset", "the upstream gave no response", sent=True)


def _refuse_rewriting(origin: str, target: str) -> None:
    """A target the parser merely percent-encodes is the same resource; one it rewrites would escape what policy judged."""
    try:
        parsed = Url(origin + target)
    except ValueError as error:
        raise failure("request_unsendable", "the request's path is not a valid URL path") from error
    sent = parsed.path if parsed.query_string is None else f"{parsed.path}?{parsed.query_string}"
    if not target.startswith("/") or unquote_to_bytes(sent) != unquote_to_bytes(target):
        raise failure("request_unsendable", "the request's path would reach the upstream as another path")


def _client(options: ClientOptions, read_timeout: float | None) -> Client:
    builder = (
        ClientBuilder()
        .http1_only()
        .http1_lower_case_headers()
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .user_agent("")
        .connect_timeout(timedelta(seconds=options.connect))
        .pool_idle_timeout(timedelta(seconds=options.keep))
    )
    if read_timeout is not None:
        builder = builder.read_timeout(timedelta(seconds=read_timeout))
    context(options.ca, options.certificate, options.key)  # finds files that are no certificates, which the library takes silently
    if options.ca is not None:
        builder = builder.add_root_certificate_pem(Path(options.ca).read_bytes())
    if options.certificate is not None and options.key is not None:
        builder = builder.identity_pem(Path(options.certificate).read_bytes() + b"\n" + Path(options.key).read_bytes())
    if options.server_name is not None:
        parts = urlsplit(options.origin)
        builder = builder.resolve(options.server_name, str(parts.hostname), int(parts.port or 443))
    try:
        return builder.build()
    except (PyreqwestError, ValueError) as error:
        raise ConfigError(f"the TLS files of {options.origin} cannot be used: {error}") from error


def _named(origin: str, server_name: str) -> str:
    """The library checks the certificate against the URL's host, so the server name becomes the host and is resolved to the address."""
    parts = urlsplit(origin)
    try:
        ip_address(str(parts.hostname))
    except ValueError:
        raise ConfigError(f"tls.server_name with client pyreqwest needs an IP address in {origin}; client: aiohttp takes names") from None
    return f"{parts.scheme}://{server_name}:{parts.port}"
