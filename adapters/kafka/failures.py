"""The only place where Kafka's errors, the library's and the brokers', become ours."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError

from adapters.messaging.destination import failure
from router.errors import DestinationError

_CODES: dict[str, tuple[str, ...]] = {
    "body_too_large": ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"),
    "upstream_refused": (
        "UNKNOWN_TOPIC_OR_PART",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "TOPIC_EXCEPTION",
        "INVALID_RECORD",
        "POLICY_VIOLATION",
        "INVALID_MSG",
    ),
    "upstream_denied": (
        "TOPIC_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
        "_AUTHENTICATION",
    ),
    "tls_failed": ("_SSL",),
    "connect_failed": ("_ALL_BROKERS_DOWN", "_RESOLVE"),
    "upstream_reset": ("_TRANSPORT",),
    "upstream_timeout": ("_MSG_TIMED_OUT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "REQUEST_TIMED_OUT"),
    "upstream_unavailable": (
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "COORDINATOR_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "BROKER_NOT_AVAILABLE",
        "_FATAL",
        "_FENCED",
    ),
    "upstream_throttled": ("THROTTLING_QUOTA_EXCEEDED",),
}
CODES = {getattr(KafkaError, name): code for code, names in _CODES.items() for name in names if hasattr(KafkaError, name)}
SENTENCES = {
    "body_too_large": "the message is longer than the Kafka brokers take",
    "upstream_refused": "Kafka refuses",
    "upstream_denied": "the Kafka brokers do not accept our credentials, or they do not suffice",
    "tls_failed": "no TLS connection with a Kafka broker could be made",
    "connect_failed": "no connection to a Kafka broker could be made",
    "upstream_reset": "the connection to the Kafka broker broke",
    "upstream_timeout": "Kafka did not acknowledge in time",
    "upstream_unavailable": "Kafka cannot take it now",
    "upstream_throttled": "Kafka asks for fewer messages",
}
SURELY_NOT = frozenset({"body_too_large", "upstream_refused", "upstream_denied", "tls_failed", "connect_failed"})
LASTING = frozenset({"upstream_denied", "tls_failed", "connect_failed"})
"""What is wrong with the connection, and not with a message."""


def translated(error: Any, *, sent: bool = True) -> DestinationError:
    """Of a KafkaError. `sent`: a message was given to the library before."""
    code = CODES.get(error.code())
    if code is None:
        return failure("upstream_protocol", f"Kafka answered with an error that is not foreseen: {error.name()}", sent=sent)
    arrived = sent and code not in SURELY_NOT and error.code() != KafkaError.NOT_ENOUGH_REPLICAS
    return failure(code, f"{SENTENCES[code]} ({error.name()})", sent=arrived)
