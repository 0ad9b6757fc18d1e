"""What a message of RabbitMQ's says in its header fields."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from adapters.rabbitmq.incoming import fields


def test_attributes_of_events_are_as_over_http_and_other_fields_as_they_are() -> None:
    """Percent-encoded, which AMQP's are not."""
    told = {"cloudEvents:id": 'a%41"', "cloudEvents_source": "/s", "note": "5%"}
    properties = SimpleNamespace(message_id=None, correlation_id=None, message_type=None, headers=told)
    message: Any = SimpleNamespace(header=SimpleNamespace(properties=properties))
    assert fields(message) == {"ce-id": "a%2541%22", "ce-source": "/s", "note": "5%"}
