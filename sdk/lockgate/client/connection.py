"""What both clients share: where the server is, by what it is known to be it, and who asks."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from urllib.parse import urlsplit

import httpx2

from lockgate.client.calls import MOST_BYTES, Answer, Attempt, Came, Failure, Patience, Trouble, retry_after
from lockgate.client.flows import Places

Credential = str | Callable[[], str]
Path = str | PathLike[str]
USER_AGENT = "lockgate-sdk/0.1.0"
# Below what servers and what stands between keep open: a connection that the other side is about to close is not used.
LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)


@dataclass(frozen=True)
class Settings:
    """`api_key` is a key or a token, or a function that gives one, which is asked for each call. `control_url` and `control_key` are for
    evidence and for held requests, `gateway_url` and `gateway_key` for who calls through the gateway. `ca`: a PEM file of authorities, or a
    context; `certificate`: PEM files with this service's own chain and key. `timeout` seconds for a call with all its repeats."""

    url: str
    api_key: Credential | None = field(default=None, repr=False)
    control_url: str | None = None
    control_key: Credential | None = field(default=None, repr=False)
    ca: Path | ssl.SSLContext | None = field(default=None, repr=False)
    certificate: tuple[Path, Path] | None = field(default=None, repr=False)
    timeout: float = 2.0
    attempts: int = 3
    pause: float = 0.05
    gateway_url: str | None = None
    gateway_key: Credential | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.timeout > 0 or self.attempts < 1 or self.pause < 0:
            raise ValueError("timeout is above 0, attempts at least 1, and pause not negative")

    @property
    def places(self) -> Places:
        control, gateway = (None if each is None else _base(each) for each in (self.control_url, self.gateway_url))
        return Places(_base(self.url), control, gateway)

    @property
    def patience(self) -> Patience:
        return Patience(self.timeout, self.attempts, self.pause, time.monotonic, random.random)

    def tls(self) -> ssl.SSLContext | bool:
        """The system's authorities, unless others are named. Raises OSError for files that cannot be read."""
        if isinstance(self.ca, ssl.SSLContext):
            context = self.ca
        elif self.ca is None and self.certificate is None:
            return True
        else:
            context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return context

    def headers(self, attempt: Attempt) -> dict[str, str] | Failure:
        """A credential that cannot be had is a call that was not made, whatever the function that gives it raises."""
        fields = {**attempt.call.fields, **({"content-type": attempt.call.content_type} if attempt.call.body else {})}
        if attempt.call.wait:
            fields["prefer"] = f"wait={attempt.call.wait}"
        given = self.control_key if attempt.call.control else self.gateway_key if attempt.call.gateway else self.api_key
        try:
            secret = given() if callable(given) else given
        except Exception as error:  # noqa: BLE001  # it is the service's own function; what it says may hold the secret
            return Failure(Trouble.CREDENTIAL, f"this service's credential could not be had ({type(error).__name__})")
        if secret is None:
            return fields
        if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
            return Failure(Trouble.CREDENTIAL, "this service's credential is empty or has characters that none has")
        return {**fields, "authorization": f"Bearer {secret}"}


def _base(url: str) -> str:
    """Raises ValueError. Credentials do not belong in it: it is shown in messages."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("The URL is http(s)://HOST[:PORT], with nothing else but a path.")
    return url.rstrip("/")


def failure(error: Exception) -> Failure:
    """Nothing of the request is in what is told."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.UnsupportedProtocol):
        return Failure(Trouble.UNREACHABLE, "it cannot be reached" + _said(error))
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return Failure(Trouble.TIMEOUT, "it did not answer in time")
    return Failure(Trouble.INTERRUPTED, f"the connection broke ({type(error).__name__})")


def too_large() -> Failure:
    return Failure(Trouble.TOO_LARGE, f"its answer is longer than {MOST_BYTES} bytes")


def answer(response: httpx2.Response, body: bytes) -> Came:
    waits = retry_after(response.headers.get("retry-after"))
    return Answer(response.status_code, body, waits, response.headers.get("x-lockgate-review", ""))


def _said(error: Exception) -> str:
    text = str(error)
    return f" ({text})" if text else ""
