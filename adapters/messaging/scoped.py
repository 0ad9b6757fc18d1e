"""One id for one caller's request: two callers that choose the same idempotency key have asked for two things."""

from __future__ import annotations

import hashlib

from adapters.messaging.message import Message


def scoped(message: Message) -> str:
    """The decision's id where the caller gave no key; else a digest of tenant, caller and key, 43 characters of letters, digits and `-`. So
    it is the same for every sending, has a bounded length, and nothing of what a caller wrote is in it."""
    if message.id == message.decision_id:
        return message.id
    subject = message.document["subject"]
    digest = hashlib.sha256()
    for part in (subject["tenant"] or "", subject["id"] or "", message.id):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return f"key-{digest.hexdigest()[:39]}"
