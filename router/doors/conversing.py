"""Conversations at a front door: what was said before is read before a request is decided, and what it said added after.

Kept under the subject's own name and sealed under the subject's key: nobody else's words come into it, and erasing the subject ends it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace

from router.decision import Decision, Request, Status, Turn
from router.doors.head import Head
from router.doors.responses import possible
from router.doors.runtime import ConversationOptions, Runtime
from router.errors import AuditError, ReviewError, StateError
from router.ports import Conversations, SubjectKeys
from router.review.packing import open_value, seal_value
from router.stages.classification import normalise

log = logging.getLogger("lockgate.gateway")
ANONYMOUS = "none"
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Conversing:
    """One request's part of its conversation; nothing where it has none."""

    def __init__(self, conversations: Conversations, keys: SubjectKeys, options: ConversationOptions) -> None:
        self._conversations = conversations
        self._keys = keys
        self._options = options
        self._name = ""
        self._earlier: tuple[Turn, ...] = ()

    async def informed(self, head: Head, request: Request) -> Request:
        """The request with what was said before. Where that cannot be told, it is judged by itself."""
        conversation = self._id(head, request)
        if conversation is None or request.subject.authenticated_by == ANONYMOUS:
            return request
        self._name = _name(request, conversation)
        try:
            self._earlier = await self._read(request.subject.id)
        except (StateError, AuditError, ReviewError) as error:
            log.warning("what was said before in a conversation cannot be told: %s", error)
        return replace(request, conversation=conversation, earlier=self._earlier)

    async def said(self, runtime: Runtime, decision: Decision) -> None:
        """Adds what was said. Of what policy denied nothing is kept."""
        text = normalise(decision.request.body.text or "")[: self._options.chars]
        if not self._name or not text:
            return
        classification = decision.classification
        accepted = classification.intent if classification.status is Status.CLASSIFIED else None
        offered = tuple(name for name in possible(decision) if name in runtime.descriptions) if accepted is None else ()
        kept = (*self._earlier, Turn(text, accepted, offered))[-self._options.turns :]
        subject = decision.request.subject.id
        try:
            _, key = await self._keys.key_for(subject)
            sealed = seal_value(key, [[each.text, each.intent, list(each.offered)] for each in kept], self._name.encode())
            await self._conversations.write(self._name, sealed, self._options.seconds)
        except (StateError, AuditError) as error:
            log.warning("what was said in a conversation is not remembered: %s", error)

    async def _read(self, subject: str) -> tuple[Turn, ...]:
        sealed = await self._conversations.read(self._name)
        if sealed is None:
            return ()
        _, key = await self._keys.key_for(subject)
        turns = open_value(key, sealed, self._name.encode())
        return tuple(Turn(text, intent, tuple(offered)) for text, intent, offered in turns)

    def _id(self, head: Head, request: Request) -> str | None:
        """None where the request names none, or not one that is plain and short."""
        name = self._options.header.encode()
        told = [value for each, value in head.headers if each == name]
        found: object = told[0].decode("latin-1") if len(told) == 1 else None
        document = request.body.json
        for key in () if told else self._options.path:
            document = document.get(key) if isinstance(document, dict) else None
            found = document
        return found if isinstance(found, str) and _ID.fullmatch(found) else None


Make = Callable[[ConversationOptions], Conversing]


def _name(request: Request, conversation: str) -> str:
    """Of the subject's own: whoever uses the same id has another conversation."""
    digest = hashlib.sha256(b"lockgate conversation v1")
    for part in (request.subject.tenant or "", request.subject.id, conversation):
        told = part.encode("utf-8", "surrogatepass")
        digest.update(len(told).to_bytes(8, "big") + told)
    return digest.hexdigest()
