"""Keys of a role that is assumed by a token of somebody else's (STS, AssumeRoleWithWebIdentity), as Kubernetes' service accounts have one.

The token's file is read for each question, since whoever renews it exchanges the file. Keys are asked for again well before they end; where
that fails they are used for as long as they are good.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from pydantic import AfterValidator, Field

from adapters.aws.places import service_url
from adapters.aws.signing import Keys
from adapters.messaging.destination import failure
from router.errors import ConfigError, DestinationError
from router.ports import Clock
from router.settings import Span, Strict, Text

log = logging.getLogger("lockgate.destinations")
MOST_TOKEN = 64 << 10
EARLY_S, AGAIN_S = 300.0, 30.0
NANO = 1e-9
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "accept": "application/xml"}
PASSING = re.compile(rb"<Code>(IDPCommunicationError|Throttling\w*|ServiceUnavailable|InternalFailure)</Code>")
CODE = re.compile(rb"<Code>([A-Za-z0-9_.]{1,64})</Code>")
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]]
"""(status, content) of an unsigned POST. Raises DestinationError."""


class WebIdentity(Strict):
    """A role that is assumed with a token, instead of keys. It is what `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE` name in a pod."""

    role: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]+$", max_length=600)] = Field(
        description="ARN of the role."
    )
    token_file: Text = Field(description="File with the token, which is read whenever keys are asked for.")
    session: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$")] = Field(
        default="lockgate", description="The session's name in AWS' logs."
    )
    lasts: Annotated[Span, Field(ge=900, le=43_200)] = Field(default=3600.0, description="How long keys are good, 15m to 12h.")
    endpoint: Annotated[Text, AfterValidator(service_url)] | None = Field(
        default=None, description="URL of a server that speaks as STS does; the region's own at Amazon without this."
    )


class AssumedRole:
    """Of one destination or consumer. `post` reaches STS."""

    def __init__(self, settings: WebIdentity, region: str, root: Path, clock: Clock, who: str, post: Post) -> None:
        suffix = ".cn" if region.startswith("cn-") else ""
        self._url = (settings.endpoint or f"https://sts.{region}.amazonaws.com{suffix}") + "/"
        self._settings, self._file, self._clock, self._who, self._post = settings, root / settings.token_file, clock, who, post
        self._keys: Keys | None = None
        self._until = self._asked = 0.0
        self._turn = asyncio.Lock()

    def check(self) -> None:
        """Raises ConfigError where there is no token."""
        try:
            self._token()
        except OSError as error:
            raise ConfigError(f"The token of {self._who} cannot be read: {error.strerror or error}.") from None
        except ValueError as error:
            raise ConfigError(f"The token of {self._who} {error}.") from None

    async def keys(self) -> Keys:
        """Raises DestinationError."""
        if (found := self._fresh()) is not None:
            return found
        async with self._turn:
            if (found := self._fresh()) is not None:  # somebody asked meanwhile
                return found
            self._asked = self._now()
            try:
                self._keys, self._until = await self._assumed()
            except DestinationError as error:
                if self._keys is None or self._now() >= self._until:
                    raise
                log.warning("the keys of %s are not renewed, and good for %d s more: %s", self._who, self._until - self._now(), error)
            return self._keys

    def refused(self) -> None:
        """The service says that they are good no more."""
        self._keys = None

    def _fresh(self) -> Keys | None:
        """What is good for long enough, or was tried to be renewed just now."""
        now = self._now()
        good = self._keys is not None and now < self._until
        return self._keys if good and (now < self._until - EARLY_S or now < self._asked + AGAIN_S) else None

    async def _assumed(self) -> tuple[Keys, float]:
        try:
            token = await asyncio.to_thread(self._token)
        except (OSError, ValueError):
            raise failure("upstream_denied", f"the token of {self._who} cannot be read") from None
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._settings.role,
            "RoleSessionName": self._settings.session,
            "DurationSeconds": str(int(self._settings.lasts)),
            "WebIdentityToken": token,
        }
        status, content = await self._post(self._url, FORM, urlencode(form).encode())
        if status != 200:
            raise self._refused(status, content)
        return self._read(content)

    def _read(self, content: bytes) -> tuple[Keys, float]:
        try:
            keys = Keys(*(_field(content, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")))
            return keys, datetime.fromisoformat(_field(content, "Expiration")).timestamp()
        except ValueError:
            raise failure("upstream_protocol", f"STS gave {self._who} something that is no keys") from None

    def _refused(self, status: int, content: bytes) -> DestinationError:
        """STS' own word; its sentences are not repeated."""
        found = CODE.search(content)
        told = f"STS gives {self._who} no keys ({found[1].decode() if found is not None else status})"
        return failure("upstream_unavailable" if status >= 500 or status == 429 or PASSING.search(content) else "upstream_denied", told)

    def _token(self) -> str:
        """Raises OSError, ValueError."""
        text = self._file.read_text(encoding="ascii").strip()
        if not text or len(text) > MOST_TOKEN or not text.isprintable():
            raise ValueError("is empty, or no token")
        return text

    def _now(self) -> float:
        return self._clock.now_ns() * NANO


def _field(content: bytes, name: str) -> str:
    found = re.search(rb"<%b>([^<]{1,16384})</%b>" % (name.encode(), name.encode()), content)
    text = unescape(found[1].decode("ascii")).strip() if found is not None else ""
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(name)
    return text


def check_known_by_one(access_key: object, secret_key: object, session_token: object, role: WebIdentity | None) -> None:
    """Keys or a role, and not both. Raises ValueError, for a model's validator."""
    if (access_key is None) != (secret_key is None) or (access_key is None) != (role is not None):
        raise ValueError("needs 'access_key' and 'secret_key', or 'web_identity' instead of both")
    if session_token is not None and access_key is None:
        raise ValueError("has a 'session_token' without keys")
