"""The durable consumer that JetStream keeps for us: made where it may be, and held to what our promises need where it is there."""

from __future__ import annotations

from typing import Any

import orjson

from adapters.messaging.destination import failure
from adapters.nats.config import ConsumerConfig
from adapters.nats.failures import refused
from adapters.nats.link import Connection

NOT_THERE = 10014
NANO = 1_000_000_000


async def ensure(connection: Connection, settings: ConsumerConfig) -> float:
    """Its `ack_wait` in seconds. Raises DestinationError."""
    place = f"{settings.stream}.{settings.durable}"
    told = await _asked(connection, f"{settings.api}.CONSUMER.INFO.{place}", b"")
    if told.get("error", {}).get("err_code") == NOT_THERE and settings.create:
        told = await _asked(connection, f"{settings.api}.CONSUMER.CREATE.{place}", orjson.dumps(_wanted(settings)))
    if "error" in told:
        raise refused(told["error"])
    found = told["config"]
    for wrong, sentence in _wrong(found, settings):
        if wrong:
            raise failure("upstream_refused", f"the durable consumer {place} {sentence}")
    return float(found["ack_wait"]) / NANO


def _wanted(settings: ConsumerConfig) -> dict[str, Any]:
    config = {
        "durable_name": settings.durable,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_wait": int(settings.ack_wait * NANO),
        "max_deliver": -1,
        "max_ack_pending": settings.most_pending,
    }
    if len(settings.subjects) == 1:
        config["filter_subject"] = settings.subjects[0]
    elif settings.subjects:
        config["filter_subjects"] = list(settings.subjects)
    return {"stream_name": settings.stream, "config": config, "action": ""}


def _wrong(found: dict[str, Any], settings: ConsumerConfig) -> list[tuple[bool, str]]:
    """What somebody else made may lose messages for us, or their order."""
    filtered = {*found.get("filter_subjects", ()), *filter(None, (found.get("filter_subject"),))}
    return [
        (bool(found.get("deliver_subject")), "pushes: it must be one that is pulled from"),
        (found.get("ack_policy") != "explicit", "does not want every message acknowledged: its ack policy must be explicit"),
        (found.get("max_deliver", -1) > 0, "has a max_deliver, after which messages would be lost: it must be -1"),
        (
            bool(settings.order) and found.get("max_ack_pending") != 1,
            "hands out several at once: for 'order' its max_ack_pending must be 1",
        ),
        (filtered != set(settings.subjects), "has other subjects than 'subjects' says"),
    ]


async def _asked(connection: Connection, subject: str, content: bytes) -> dict[str, Any]:
    told = orjson.loads((await connection.ask(subject, content)).data)
    if not isinstance(told, dict):
        raise failure("upstream_protocol", "what answered is no JetStream")
    return told
