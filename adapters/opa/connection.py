"""HTTP to one OPA server: kept connections over TCP, TLS or a socket of this machine. It goes where the URL says and nowhere else: no
redirects, no proxy of the environment, no cookies."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp

from adapters.aligned_aiohttp import TcpConnector, UnixConnector
from router.config.opa import UNIX, OpaEngine
from router.errors import ConfigError

CONNECTIONS = 64
KEEP_S = 15.0  # shorter than servers keep an idle connection, so that a question does not meet its end
HEADER_BYTES = 16 * 1024


class NotReachedError(Exception):
    """No byte of the request can have arrived."""


class BrokenError(Exception):
    """The request was sent, or may have been, and there is no usable answer."""


class Connection:
    """`token` is asked for each new look at the server, since who renews it may exchange it. Raises ConfigError for unusable TLS files."""

    def __init__(self, settings: OpaEngine, root: Path, token: Callable[[], str | None]) -> None:
        self._socket = settings.url.removeprefix(UNIX) if settings.url.startswith(UNIX) else None
        self._base = "http://localhost" if self._socket is not None else settings.url
        self._tls = _context(settings, root) if self._base.startswith("https://") else None
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self.server = f"The OPA server {settings.url}"
        self._headers: dict[str, str] = {}
        self.renew_token()

    def renew_token(self) -> None:
        """Raises ConfigError."""
        token = self._token()
        if token is not None and not (token and token.isascii() and token.isprintable()):
            raise ConfigError(f"{self.server} cannot be asked: its token is empty or not one line.")
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "lockgate"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"

    async def ask(self, method: str, path: str, body: bytes | None, most_bytes: int) -> tuple[int, bytes]:
        """Status and body. Raises NotReachedError, BrokenError. Whoever waits bounds the time."""
        if self._session is None:
            self._session = self._opened()
        try:
            async with self._session.request(
                method, self._base + path, data=body, headers=self._headers, allow_redirects=False, ssl=self._tls or True
            ) as response:
                read = bytearray()
                async for piece in response.content.iter_any():
                    read += piece
                    if len(read) > most_bytes:
                        raise BrokenError("its answer is too long")
                return response.status, bytes(read)
        except aiohttp.ClientConnectorCertificateError as error:
            raise BrokenError("its certificate is not trusted") from error
        except aiohttp.ClientConnectorError as error:
            raise NotReachedError("it cannot be reached") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BrokenError("the connection broke") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._socket is not None:
            connector: aiohttp.BaseConnector = UnixConnector(self._socket, limit=CONNECTIONS, keepalive_timeout=KEEP_S)
        else:
            connector = TcpConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_S)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            max_field_size=HEADER_BYTES,
            max_line_size=HEADER_BYTES,
        )
        session._retry_connection = False  # what is tried again is the engine's decision, which knows the deadline
        return session


def _context(settings: OpaEngine, root: Path) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cafile=root / settings.ca if settings.ca is not None else None)
        if settings.certificate is not None and settings.key is not None:
            made.load_cert_chain(root / settings.certificate, root / settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The TLS files of the OPA server {settings.url} cannot be used: {error}.") from error
    return made
