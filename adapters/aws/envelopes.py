"""What SNS and EventBridge put around what they hand to a queue. Whether SNS did is for `notices` to say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from adapters.aws.config import SqsSource

NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")


def unwrapped(body: bytes, attributes: Mapping[str, str], settings: SqsSource) -> tuple[bytes, dict[str, str]]:
    """The content and its fields. What is not from the topics and sources that the settings name stays as it came. Anybody who may write
    to the queue can make such an envelope: its policy says who may."""
    if not settings.topics and not settings.event_sources:
        return body, dict(attributes)
    told = parsed(body)
    if settings.unsigned and told.get("Type") == "Notification" and told.get("TopicArn") in settings.topics:
        return _notification(told, attributes)
    if is_event(told, settings):
        return _event(told, attributes)
    return body, dict(attributes)


def is_event(told: Mapping[str, Any], settings: SqsSource) -> bool:
    return bool(settings.event_sources) and "detail" in told and "detail-type" in told and told.get("source") in settings.event_sources


def _notification(told: Mapping[str, Any], attributes: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    given = told.get("MessageAttributes")
    own = {
        str(name).lower(): str(each.get("Value"))
        for name, each in (given if isinstance(given, dict) else {}).items()
        if NAME.fullmatch(str(name)) and isinstance(each, dict)
    }
    fields = {**attributes, **own, "sns-topic": str(told["TopicArn"]), "sns-message-id": str(told.get("MessageId", ""))}
    return str(told.get("Message", "")).encode(), fields


def _event(told: Mapping[str, Any], attributes: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """As a CloudEvent in binary mode."""
    fields = {
        **attributes,
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": str(told.get("id", "")),
        "ce-source": str(told["source"]),
        "ce-type": str(told["detail-type"]),
        "ce-time": str(told.get("time", "")),
    }
    return orjson.dumps(told["detail"]), {name: value for name, value in fields.items() if value}


def parsed(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}
