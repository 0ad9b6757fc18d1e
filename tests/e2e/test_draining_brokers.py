"""A drained node and real brokers: it finishes what it took, takes no more, and goes on where it stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_event_brokers import GOOD, consuming, kafka, nats, rabbitmq, redis, sqs
from tests.e2e.test_events import Target

NODE = "/v1/nodes/self"
MORE = 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nats, kafka, rabbitmq, redis, sqs])
def test_a_drained_node_leaves_messages_to_others_until_it_serves_again(
    kind: Callable[[Path], Any], prepare: Callable[..., Lockgate], tmp_path: Path
) -> None:
    """The message that was taken is acknowledged and its delivery ends; what comes after is taken by nobody, and later by this node."""
    target, let = Target(), threading.Event()
    target.answer = lambda _: 200 if let.wait(20) else 500
    with kind(tmp_path) as broker:
        lockgate = consuming(prepare, broker, target)
        broker.send(GOOD, "m-1")
        until(lambda: target.came, "it was sent on")
        told = lockgate.control("POST", f"{NODE}/drain").json
        assert (told["state"], told["under_way"]["deliveries"]) == ("draining", 1)
        for number in range(MORE):
            broker.send(GOOD, f"later-{number}")
        let.set()
        until(lambda: lockgate.control("GET", NODE).json["state"] == "drained", "it was drained")
        assert broker.left() == MORE
        assert len(target.came) == 1
        lockgate.control("POST", f"{NODE}/resume")
        until(lambda: len(target.came) == MORE + 1, "the rest was delivered")
        until(lambda: broker.left() == 0, "all were acknowledged")
        assert len({fields["ce-id"] for _, fields, _ in target.came}) == MORE + 1
    target.close()
