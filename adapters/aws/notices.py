"""Envelopes of SNS, verified: with the certificates that SNS signs with, each fetched once from where only SNS could put it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

import aiohttp
from cryptography import x509

from adapters.aws.notifications import (
    CONFIRMATION,
    NOTIFICATION,
    Envelope,
    check_certificate,
    check_signature,
    check_time,
    check_topic,
    handed_on,
    place,
    read_envelope,
)
from adapters.http_upstream.tls import context
from router.errors import RefusedError

log = logging.getLogger("lockgate.events")
MOST_BYTES = 64 << 10
WITHIN_S = 5.0
KEPT, KEPT_S, REFUSED_S = 32, 86_400.0, 60.0
AT_ONCE = 4
MOST_ASKED = 64  # certificates that are asked for or wait for it: whoever makes up their names is somebody whom nobody knows yet
Found = tuple[float, "x509.Certificate | None"]
"""(until when, in the loop's time; None where there is no certificate)"""


class Notices:
    """`base` stands for SNS instead of Amazon's own hosts, `ca` is believed beside the system's authorities. `oldest_s`: how much older
    than its arrival an envelope may be."""

    def __init__(self, topics: Collection[str], oldest_s: float, root: Path, base: str | None = None, ca: str | None = None) -> None:
        self._topics = frozenset(topics)
        self._oldest_s = oldest_s
        self._base = base
        self._secure = context(None if ca is None else str(root / ca), None, None)
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._asking: dict[str, asyncio.Task[x509.Certificate]] = {}

    async def verified(self, body: bytes, at_s: float) -> Envelope:
        """Raises RefusedError; one of status 503 says that it may be asked again."""
        envelope = read_envelope(body)
        check_topic(envelope, self._topics)
        host = place(envelope.certificate, self._base)
        key = check_certificate(await self._certificate(envelope.certificate), host, at_s)
        check_signature(envelope, key)
        check_time(envelope, at_s, self._oldest_s)
        return envelope

    async def read(self, body: bytes, now_s: float) -> tuple[bytes, dict[str, str]] | None:
        """Content and fields of what came over HTTP. None for what is no event: a subscription is confirmed, the end of one is only told.
        Raises RefusedError."""
        envelope = await self.verified(body, now_s)
        if envelope.kind == NOTIFICATION:
            return handed_on(envelope)
        if envelope.kind == CONFIRMATION:
            url = envelope.fields["SubscribeURL"]
            place(url, self._base)
            await self._got(url)
            log.info("the subscription to %s is confirmed", envelope.topic)
        else:
            log.warning("the subscription to %s has ended: nothing more will come of it", envelope.topic)
        return None

    async def _certificate(self, url: str) -> x509.Certificate:
        now = asyncio.get_running_loop().time()
        until, found = self._known.get(url, (0.0, None))
        if until > now:
            if found is None:
                raise _refused()
            self._known.move_to_end(url)
            return found
        task = self._asking.get(url)
        if task is None:
            if len(self._asking) >= MOST_ASKED:
                raise _unavailable()
            task = self._asking[url] = asyncio.create_task(self._fetched(url))
            task.add_done_callback(lambda done: self._answered(url, done))
        return await asyncio.shield(task)

    async def _fetched(self, url: str) -> x509.Certificate:
        content = await self._got(url)
        try:
            return x509.load_pem_x509_certificate(content)
        except ValueError:
            raise _refused() from None

    def _answered(self, url: str, task: asyncio.Task[x509.Certificate]) -> None:
        """What cannot be had now is asked for again; what is no certificate is not, for a while."""
        self._asking.pop(url, None)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or (error is not None and not (isinstance(error, RefusedError) and error.status == 401)):
            return
        kept_s = KEPT_S if error is None else REFUSED_S
        self._known[url] = (asyncio.get_running_loop().time() + kept_s, task.result() if error is None else None)
        self._known.move_to_end(url)
        while len(self._known) > KEPT:  # what is none first, and then what was needed longest ago
            del self._known[next((name for name, (_, found) in self._known.items() if found is None), next(iter(self._known)))]

    async def _got(self, url: str) -> bytes:
        """Never by a redirect, never more than fits a certificate. Raises RefusedError."""
        try:
            async with (
                self._places,
                asyncio.timeout(WITHIN_S),
                aiohttp.ClientSession(trust_env=False) as session,
                session.get(url, ssl=self._secure, allow_redirects=False) as answer,
            ):
                return await _content(answer)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise _unavailable() from None


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status >= 500 or answer.status == 429:
        raise _unavailable()
    if answer.status != 200:
        raise _refused()
    content = b""
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise _refused()
    return content


def _refused() -> RefusedError:
    return RefusedError("What the envelope names at SNS is not there, or no certificate.", "event_certificate_refused", 401)


def _unavailable() -> RefusedError:
    return RefusedError("SNS cannot be asked for the certificate of a signature now.", "event_certificate_unavailable", 503, 5)
