from __future__ import annotations

import logging
import threading
from enum import Enum

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from router.telemetry.exporting import Exporters
from router.telemetry.reach import FIRST_WORD, Logs, Numbers, Reach, Spans

NOWHERE = "http://127.0.0.1:9"


class Result(Enum):
    SUCCESS = 0
    FAILURE = 1


def test_it_is_said_once_that_nothing_arrives_and_once_that_it_does_again(caplog: pytest.LogCaptureFixture) -> None:
    """However often an export fails, there is one line about it, with the reason, and one when it is over."""
    reach = Reach("spans", NOWHERE)
    with caplog.at_level(logging.WARNING, "lockgate.telemetry"):
        for result in (Result.SUCCESS, Result.FAILURE, Result.FAILURE, Result.SUCCESS, Result.SUCCESS):
            FIRST_WORD.emit(logging.makeLogRecord({"msg": "connection refused"}))
            FIRST_WORD.emit(logging.makeLogRecord({"msg": "gave up"}))
            reach.note(result)
    assert caplog.messages == [
        f"spans do not reach {NOWHERE} and are dropped meanwhile: connection refused",
        f"spans reach {NOWHERE} again",
    ]


def test_what_is_known_to_be_away_is_not_waited_for() -> None:
    """A collector that did not answer lately keeps nobody: its threads are let go of at once, even while one hangs."""
    hanging = threading.Event()

    class Stuck(TracerProvider):
        def shutdown(self) -> None:
            hanging.wait(30)

    spans, logs, numbers = Spans(NOWHERE), Logs(NOWHERE), Numbers(NOWHERE)
    for each in (spans, logs, numbers):
        each.reach.arrives = False
    exporters = Exporters(Resource({}), Stuck(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False), spans, logs, numbers)
    exporters.start(CollectorRegistry())
    exporters.close()
    assert [thread for thread in threading.enumerate() if thread.name == "otlp-spans-end"]
    hanging.set()
