"""A `nats` destination's peer: messages into a JetStream stream, or requests to a service."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from adapters.messaging.destination import Receipt, failure, receipt
from adapters.messaging.document import JSON
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.nats.config import DestinationConfig
from adapters.nats.failures import refused
from adapters.nats.link import Link
from router.errors import DestinationError

MESSAGE_ID, EXPECTED_STREAM = "Nats-Msg-Id", "Nats-Expected-Stream"
CONTENT_TYPE = "Content-Type"
SERVICE_ERROR, SERVICE_ERROR_CODE = "Nats-Service-Error", "Nats-Service-Error-Code"
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_BAD = re.compile(r"[\s*>]|^\.|\.\.|\.$")


class NatsPeer:
    def __init__(self, settings: DestinationConfig, root: Path) -> None:
        self._settings = settings
        self._link = Link(settings, root)
        self._levels = _EXPRESSION.sub("", settings.subject.source).count(".")
        self.repeatable = settings.mode == "stream"

    async def open(self) -> None:
        self._link.check()

    async def close(self) -> None:
        await self._link.close()

    async def ping(self) -> None:
        await self._link.ping()

    async def deliver(self, message: Message) -> Receipt:
        subject = self.subject(message)
        headers = self._headers(message)
        connection = await self._link.connection()
        if self._settings.mode == "request":
            answer = await connection.ask(subject, message.content, headers)
            return _answered(subject, answer.data, answer.headers or {})
        return _kept(subject, headers[MESSAGE_ID], (await connection.ask(subject, message.content, headers)).data)

    def subject(self, message: Message) -> str:
        """What a caller wrote fills a level and never makes one."""
        subject = message.text(self._settings.subject)
        if _BAD.search(subject) or subject.count(".") != self._levels:
            raise unmapped("what the request puts into the NATS subject has a dot, a space or a wildcard, or is empty")
        return subject

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {**message.fields, MESSAGE_ID: scoped(message)}
        if message.content_type:
            headers[CONTENT_TYPE] = message.content_type
        if self._settings.stream is not None:
            headers[EXPECTED_STREAM] = self._settings.stream
        return headers


def _kept(subject: str, message_id: str, content: bytes) -> Receipt:
    try:
        told = orjson.loads(content)
        if "error" in told:
            raise refused(told["error"])
        stream, number = str(told["stream"]), int(told["seq"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise failure("upstream_protocol", "what answered at the subject is no JetStream stream", sent=True) from None
    details = {"id": message_id, "stream": stream, "sequence": number, "duplicate": bool(told.get("duplicate", False))}
    return receipt(f"nats:{stream}/{subject}", details)


def _answered(subject: str, content: bytes, headers: dict[str, str]) -> Receipt:
    if SERVICE_ERROR_CODE in headers:
        raise _service_error(headers)
    return Receipt(f"nats:{subject}", content, headers.get(CONTENT_TYPE) or headers.get("content-type") or JSON, 200)


def _service_error(headers: dict[str, str]) -> DestinationError:
    said = headers.get(SERVICE_ERROR, "no reason")[:200]
    return failure("upstream_refused", f"the service says no ({headers[SERVICE_ERROR_CODE][:20]}): {said}", sent=True)
