"""Calls of one connection to h2corn are counted: more than it takes if they are all given up is Envoy's fault, and said."""

from __future__ import annotations

from typing import Any

import pytest

from router.doors.envoy.calls import Calls
from tests.needs import needs
from tests.unit.doors.envoy.test_framing import Peer

needs("h2corn", "pip install 'lockgate[envoy-h2corn]'")


async def called(counted: Any, port: int, times: int) -> None:
    for _ in range(times):
        peer = Peer(b"")
        peer.scope["client"] = ("127.0.0.1", port)
        await counted(peer.scope, peer.receive, peer.send)
        assert peer.status == 12


async def test_a_connection_that_carries_too_many_calls_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many there are; and none that carries as many as it may."""
    from router.doors.envoy.h2corn import CONNECTIONS, RESETS, Counted

    counted = Counted(Calls({}, 0))
    for port in range(20):
        await called(counted, port, RESETS)
    assert "envoy_connection_unbounded" not in caplog.text
    await called(counted, 1, 20)
    await called(counted, 2, 20)
    assert caplog.text.count("envoy_connection_unbounded") == 1
    for port in range(CONNECTIONS + 10):
        await called(counted, 100 + port, 1)
    assert len(counted._seen) == CONNECTIONS
