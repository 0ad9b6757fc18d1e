"""The id of a message for a peer that many callers' messages go to, and that acts once on an id."""

from __future__ import annotations

import hashlib
import re

from adapters.messaging.message import Message

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")


def own_id(message: Message) -> str:
    """The decision's id; or, of a caller's key, one that is this caller's alone, so that nobody hides another's message behind a key. It
    has letters, digits, `-` and `_`, and no dot, which separates what Standard Webhooks signs."""
    if message.id == message.decision_id and _PLAIN.fullmatch(message.id):
        return message.id
    who = message.document["subject"]
    parts = "\0".join(str(each or "") for each in (who["tenant"], who["id"], message.id))
    return f"msg_{hashlib.sha256(parts.encode()).hexdigest()[:40]}"
