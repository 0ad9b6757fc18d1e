"""One of Amazon's services: signed requests, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from yarl import URL

from adapters.aws.config import Account
from adapters.aws.roles import AssumedRole
from adapters.aws.signing import Keys, signed
from adapters.http_upstream.tls import context
from adapters.messaging.destination import failure
from adapters.messaging.posting import Answered, Poster
from router.errors import ConfigError, DestinationError
from router.ports import Clock
from router.secret import Secret

MOST_BYTES = 16 << 20
XML_CODE = re.compile(rb"<Code>([A-Za-z0-9_.]{1,128})</Code>")
DENIED = re.compile(
    r"AccessDenied|AuthFailure|AuthorizationError|ExpiredToken|IncompleteSignature|InvalidAccessKeyId|InvalidClientTokenId|InvalidSecurity"
    r"|MissingAuthenticationToken|NotAuthorized|OptInRequired|SignatureDoesNotMatch|UnrecognizedClient"
)
THROTTLED = re.compile(r"Throttl|TooManyRequests|SlowDown|RequestLimitExceeded|OverLimit")
INTERNAL = re.compile(r"Internal|ServiceUnavailable|RequestTimeout")
EXPIRED = re.compile(r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient")
TOO_LARGE = re.compile(r"TooLong|TooLarge|RequestEntityTooLarge|MessageTooLong")


class Service:
    """`name` is the one that signatures and host names have, `title` the one that people know."""

    def __init__(self, settings: Account, name: str, title: str, clock: Clock, root: Path) -> None:
        self._settings, self._name, self._clock, self._root = settings, name, clock, root
        self.url = settings.endpoint or f"https://{name}.{settings.region}.amazonaws.com"
        self.who = f"{title} at {URL(self.url).host}"
        self._poster: Poster | None = None
        web = settings.web_identity
        self._role = None if web is None else AssumedRole(web, settings.region, root, clock, self.who, self._post_plain)

    def prepare(self) -> None:
        """Raises ConfigError for keys and files that cannot be read."""
        if self._role is not None:
            self._role.check()
        else:
            self._own_keys()
        ca = self._settings.ca
        secure = context(None if ca is None else str(self._root / ca), None, None)
        self._poster = Poster(connect=self._settings.connect, most=MOST_BYTES, secure=secure)

    async def close(self) -> None:
        if self._poster is not None:
            await self._poster.close()

    async def json(self, target: str, payload: Mapping[str, Any], version: str = "1.0") -> Any:
        """The answer to one operation of a service that speaks JSON. Raises DestinationError."""
        answer = await self._posted(orjson.dumps(dict(payload)), f"application/x-amz-json-{version}", {"x-amz-target": target})
        try:
            return orjson.loads(answer.content or b"{}")
        except orjson.JSONDecodeError:
            raise self._odd() from None

    async def query(self, fields: Mapping[str, str]) -> bytes:
        """The answer, XML, to one operation of a service that takes forms. Raises DestinationError."""
        return (await self._posted(urlencode(fields).encode(), "application/x-www-form-urlencoded; charset=utf-8", {})).content

    async def _posted(self, body: bytes, content_type: str, more: Mapping[str, str]) -> Answered:
        if self._poster is None:
            raise failure("destination_closed", f"{self.who} is not open")
        keys = await self._keys()
        now = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC)
        headers = signed(
            "POST",
            self.url + "/",
            service=self._name,
            region=self._settings.region,
            keys=keys,
            now=now,
            headers={"content-type": content_type, **more},
            body=body,
        )
        answer = await self._poster.post(URL(self.url + "/"), headers, body)
        if not answer.whole:
            raise self._odd()
        if not answer.good:
            code = _code(answer.content)
            if self._role is not None and EXPIRED.search(code):
                self._role.refused()
            raise self.refused(answer.status, code)
        return answer

    async def _post_plain(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if self._poster is None:
            raise failure("destination_closed", f"{self.who} is not open")
        answer = await self._poster.post(URL(url), headers, body)
        return answer.status, answer.content

    async def _keys(self) -> Keys:
        """Raises DestinationError."""
        if self._role is not None:
            return await self._role.keys()
        try:
            return self._own_keys()
        except ConfigError:
            raise failure("upstream_denied", f"there are no keys for {self.who}: a file cannot be read") from None

    def refused(self, status: int, code: str) -> DestinationError:
        """`code` is the service's own word; its sentences are not repeated."""
        told = f"{self.who} says {code or status}"
        if DENIED.search(code) or (status == 401 or (status == 403 and not code)):
            return failure("upstream_denied", told)
        if THROTTLED.search(code) or status == 429:
            return failure("upstream_throttled", told)
        if status >= 500 or INTERNAL.search(code):
            return failure("upstream_unavailable", told, sent=True)
        if TOO_LARGE.search(code) or status == 413:
            return failure("body_too_large", told)
        return failure("upstream_refused", told)

    def _odd(self) -> DestinationError:
        return failure("upstream_protocol", f"{self.who} gave an answer that is not the service's", sent=True)

    def _own_keys(self) -> Keys:
        made = self._settings
        if made.access_key is None or made.secret_key is None:
            raise ConfigError(f"There are no keys for {self.who}.")
        token = None if made.session_token is None else self._text(made.session_token)
        return Keys(self._text(made.access_key), self._text(made.secret_key), token)

    def _text(self, secret: Secret) -> str:
        text = secret.reveal(self._root).strip()
        if not text or not text.isascii() or not text.isprintable():
            raise ConfigError(f"A key for {self.who} is empty or not one line of ASCII.")
        return text


def _code(content: bytes) -> str:
    """The error's code, in JSON or XML; nothing of it that is no plain word."""
    found = XML_CODE.search(content)
    if found is not None:
        return found[1].decode()
    try:
        told = orjson.loads(content)
        code = str(told.get("__type", "")) if isinstance(told, dict) else ""
    except orjson.JSONDecodeError:
        return ""
    code = code.rpartition("#")[2]
    return code if re.fullmatch(r"[A-Za-z0-9_.]{1,128}", code) else ""
