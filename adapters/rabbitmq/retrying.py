"""Queues where messages wait for another try. Each has one wait, so that nothing in it is behind what waits longer; the broker
moves what has waited back, from quorum queues at least once."""

from __future__ import annotations

import math
from typing import Any

from adapters.rabbitmq.config import ConsumerConfig
from adapters.rabbitmq.failures import GONE, asking
from adapters.rabbitmq.line import Line

LONGEST_S = 86_400
UNUSED_S = 300


async def retry_queue(line: Line, settings: ConsumerConfig, after_s: float) -> str:
    """The name of the queue for this wait: seconds, rounded up to a power of two. Made, or found as it must be, and kept for long enough
    from now. Raises DestinationError."""
    seconds = min(LONGEST_S, 1 << max(0, math.ceil(after_s) - 1).bit_length())
    name = f"{settings.queue}.retry.{seconds}s"
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": seconds * 1000,
        "x-expires": (seconds * 2 + UNUSED_S) * 1000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": settings.queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    channel = await line.channel(confirms=False)
    try:
        await channel.queue_declare(name, durable=True, arguments=arguments)
        await channel.close()
    except GONE as error:
        raise asking(error, line.who, f"queue '{name}'") from error
    return name
