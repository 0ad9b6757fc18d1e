"""Settings that every such destination has. A kind's own `Config` extends this one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from router.settings import Count, Duration, Size, Span, Strict
from router.templates import Input


class Retries(Strict):
    """How a failed sending is tried again at once, while the caller waits. Only what surely did not arrive, and what the peer acts on once
    because it heeds the key, is sent again."""

    attempts: Annotated[int, Field(ge=1, le=10)] = Field(default=2, description="Sendings in all.")
    backoff: Duration = Field(default=0.1, description="Longest wait before the second one; it doubles, and chance shortens it.")
    max_backoff: Duration = Field(default=2.0, description="Longest wait before any.")


class CircuitSettings(Strict):
    """When the peer is not asked any more for a while."""

    failures: Count = Field(default=5, description="Failures in a row after which it is not.")
    open: Span = Field(default=10.0, description="For how long.")


class MessagingConfig(Strict):
    """Beside a kind's own settings."""

    input: Input | None = Field(
        default=None, description="JSON that is sent instead of the request's body, with `{{ expressions }}` over the request."
    )
    timeout: Span = Field(default=10.0, description="Longest time for one request, its retries included.")
    retries: Retries = Field(default=Retries(), description="Trying again.")
    circuit: CircuitSettings = Field(default=CircuitSettings(), description="Giving the peer rest.")
    concurrency: Count = Field(default=256, description="Most requests under way at once.")
    most: Size = Field(default=1 << 20, description="Longest body that is taken.")
