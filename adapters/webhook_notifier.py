"""The `webhook` kind of notifier: JSON for programs, signed as Standard Webhooks has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import orjson
from aiohttp.abc import AbstractResolver
from pydantic import Field, model_validator

from adapters.notifying.config import PostConfig
from adapters.notifying.post import Content, PostNotifier
from adapters.notifying.words import BREAK_GLASS, Words, instant
from adapters.webhook.signing import Signing, signer
from router.ports import Clock, Notice
from router.secret import Secret
from router.settings import Bool

__all__ = ["Config", "build"]


class Config(PostConfig):
    """Posts a signed JSON document (Standard Webhooks)."""

    secrets: tuple[Secret, ...] = Field(
        default=(),
        description="Signing secrets, `whsec_…` (HMAC-SHA256) or `whsk_…` (Ed25519). All of them sign: two while one is replaced.",
    )
    unsigned: Bool = Field(default=False, description="Send without a signature, to who cannot verify one.")

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if bool(self.secrets) == self.unsigned:
            raise ValueError("needs 'secrets', or 'unsigned: true' for an endpoint that verifies nothing, and not both")
        return self

    def unusable(self, root: Path) -> Iterator[str]:
        yield from super().unusable(root)
        for place, secret in enumerate(self.secrets):
            if secret.here:
                try:
                    signer(secret.reveal(root))
                except ValueError as error:
                    yield f"The webhook's secret number {place + 1} {error}."


def build(settings: Config, *, clock: Clock, root: Path = Path(), resolver: AbstractResolver | None = None) -> PostNotifier:
    signing = Signing(settings.secrets, root)

    def written(notice: Notice, words: Words) -> Content:
        """Every sending has the id and the body of the first; only the time is new, and the signature over it."""
        data: dict[str, Any] = {
            "review": notice.review,
            "intent": notice.intent or None,
            "risk": notice.risk,
            "route": notice.route,
            "expires": instant(notice.expires_ns),
            "link": words.link,
        }
        kind = f"lockgate.review.{notice.event}"
        if notice.event == BREAK_GLASS:
            kind, data = f"lockgate.{BREAK_GLASS}", {"incident": notice.review, "ends": instant(notice.expires_ns), "link": words.link}
        told = {"type": kind, "timestamp": instant(notice.made_ns), "data": data}
        body = orjson.dumps(told)
        return {"content-type": "application/json"} | signing.headers(notice.id, clock.now_ns() // 10**9, body), body

    return PostNotifier(settings, written, clock, root, resolver, prepare=signing.open)
