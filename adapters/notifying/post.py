"""A channel that takes one POST: to where the configuration says, over checked addresses, bounded in time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp.abc import AbstractResolver
from yarl import URL

from adapters.http_upstream.tls import context
from adapters.messaging.destination import failure
from adapters.messaging.posting import Poster
from adapters.messaging.statuses import refused_by
from adapters.notifying.config import PostConfig
from adapters.notifying.words import Words, words
from adapters.webhook.endpoint import checked
from adapters.webhook.guard import Guard
from adapters.webhook.guarded import guarded_poster
from router.errors import ConfigError
from router.ports import Clock, Notice

MOST_ANSWER = 16 * 1024
Content = tuple[Mapping[str, str], bytes]


class PostNotifier:
    """Implements `router.ports.Notifier`. `write` makes header fields and body."""

    def __init__(
        self,
        settings: PostConfig,
        write: Callable[[Notice, Words], Content],
        clock: Clock,
        root: Path,
        resolver: AbstractResolver | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._write, self._clock, self._root = settings, write, clock, root
        self._prepare, self._own_resolver = prepare, resolver
        self._guard = Guard(settings.allow_networks)
        self._poster: Poster | None = None

    async def open(self) -> None:
        self._prepare()
        self._url()
        tls = self._settings.tls
        files = (None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key))
        secure, connect = context(*files), self._settings.connect
        self._poster = guarded_poster(
            self._guard, self._own_resolver, connect=connect, most=MOST_ANSWER, secure=secure, server_name=tls.server_name
        )

    async def close(self) -> None:
        poster, self._poster = self._poster, None
        if poster is not None:
            await poster.close()

    async def tell(self, notice: Notice, link: str) -> None:
        if self._poster is None:
            raise failure("destination_closed", "the notifier is not open")
        fields, body = self._write(notice, words(notice, link))
        try:
            url = self._url()  # read again, so that a URL that was exchanged needs no restart
            async with asyncio.timeout(self._settings.timeout):
                answered = await self._poster.post(url, fields, body)
        except ConfigError as error:
            raise failure("connect_failed", str(error)) from error
        except TimeoutError:
            raise failure("upstream_timeout", "the endpoint did not answer in time", sent=True) from None
        if not answered.good:
            raise refused_by(answered.status, answered.headers.get("retry-after", ""), self._clock.now_ns() / 1e9, "the endpoint")

    def _url(self) -> URL:
        """Raises ConfigError."""
        try:
            return checked(self._settings.url.reveal(self._root).strip(), (), insecure=self._settings.insecure)
        except ValueError as error:
            raise ConfigError(f"the 'url' of a notifier {error}") from None
