"""Asks one question, and takes nothing for an answer but what the contract says."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from yarl import URL

from adapters.http_upstream.tls import context
from adapters.messaging.destination import Receipt, failure
from adapters.messaging.document import JSON
from adapters.messaging.message import Message, unmapped
from adapters.messaging.posting import Answered, Poster
from adapters.messaging.scoped import scoped
from adapters.messaging.statuses import refused_by
from adapters.messaging.words import question_of, visible
from adapters.retrieval.config import Config
from adapters.retrieval.contract import Found, question
from router.errors import ConfigError, DestinationError
from router.ports import Clock


class RetrievalPeer:
    repeatable = True
    """A question has no effect."""

    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self._settings, self._clock, self._root = settings, clock, root
        self._url = URL(settings.url, encoded=True)
        self._fields: dict[str, str] = {}
        self._poster: Poster | None = None

    async def open(self) -> None:
        tls = self._settings.tls
        secure: ssl.SSLContext = context(*(None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key)))
        self._fields = {name: _value(name, secret.reveal(self._root)) for name, secret in self._settings.headers.items()}
        self._poster = Poster(
            connect=self._settings.connect, most=self._settings.most_answer, secure=secure, server_name=tls.server_name, who="the service"
        )

    async def close(self) -> None:
        poster, self._poster = self._poster, None
        if poster is not None:
            await poster.close()

    async def ping(self) -> None:
        """Any answer to an empty question will do, but a refusal of the credential and what says that it cannot work."""
        answered = await self._posted(orjson.dumps(question("", 1, None, "ping")), {})
        if answered.status in (401, 403, 407, 429) or answered.status >= 500:
            raise self._refusal(answered)

    async def deliver(self, message: Message) -> Receipt:
        asked = question(question_of(message), self._settings.passages, self._filters(message), scoped(message))
        fields = {name: value for name, value in message.fields.items() if value.isascii() and value.isprintable()}
        answered = await self._posted(orjson.dumps(asked), {**fields, "idempotency-key": asked["id"]})
        if not answered.good:
            raise self._refusal(answered)
        return Receipt(str(self._url), orjson.dumps(_told(self._found(answered))), JSON, 200)

    def _filters(self, message: Message) -> Mapping[str, Any] | None:
        """A filter without a value might narrow nothing, and show what the caller may not read."""
        if self._settings.filters is None:
            return None
        filters = message.value(self._settings.filters)
        if not isinstance(filters, Mapping):
            raise unmapped("'filters' makes no object")
        for name, value in filters.items():
            if value is None or value == "":
                raise unmapped(f"the request has nothing for the filter '{name}'")
        return filters

    async def _posted(self, body: bytes, fields: Mapping[str, str]) -> Answered:
        if self._poster is None:
            raise failure("destination_closed", "the destination is not open")
        return await self._poster.post(self._url, {**fields, **self._fields, "content-type": JSON, "accept": JSON}, body)

    def _found(self, answered: Answered) -> Found:
        """Raises DestinationError, which says where the answer is wrong and not what it says."""
        if not answered.whole:
            raise _wrong(f"is longer than {self._settings.most_answer} bytes")
        if answered.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON or "content-encoding" in answered.headers:
            raise _wrong("is no plain JSON")
        try:
            found = Found.model_validate_json(answered.content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            raise _wrong(f"breaks the contract at '{'.'.join(map(str, first['loc']))}' ({first['type']})") from None
        if len(found.passages) > self._settings.passages:
            raise _wrong(f"has more than {self._settings.passages} passages")
        if found.answer is not None and self._settings.sources != "optional" and not found.passages:
            raise _wrong("has no sources")
        if found.answer is not None and self._settings.sources == "cited" and not found.cites:
            raise _wrong("cites none of its sources")
        return found

    def _refusal(self, answered: Answered) -> DestinationError:
        return refused_by(answered.status, answered.headers.get("retry-after", ""), self._clock.now_ns() / 1e9, "the service")


def _told(found: Found) -> dict[str, Any]:
    """What the contract names, and of texts what is seen."""
    passages = [
        {
            "text": visible(each.text),
            "source": {
                "id": visible(each.source.id),
                "title": None if each.source.title is None else visible(each.source.title),
                "url": each.source.url,
            },
            "score": each.score,
        }
        for each in found.passages
    ]
    return {"answer": None if found.answer is None else visible(found.answer), "cites": found.cites, "passages": passages}


def _wrong(why: str) -> DestinationError:
    return failure("answer_refused", f"the service's answer {why}", sent=True)


def _value(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ConfigError(f"the header field {name} must be printable ASCII")
    return text
