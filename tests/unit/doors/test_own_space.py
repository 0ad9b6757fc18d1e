"""What is below the gateway's own paths, and what is beside them."""

from __future__ import annotations

import pytest

from router.doors.gateway import Gateway
from router.doors.head import read_head
from router.doors.own_space import OwnSpace
from router.errors import RefusedError
from router.system import SystemClock, SystemRandom, UuidV7
from tests.faults.gateway_harness import Seen
from tests.unit.doors.parts import scope


def gateway() -> Gateway:
    return Gateway(SystemClock(), UuidV7(), SystemRandom(), Seen(), own=OwnSpace({}))


@pytest.mark.parametrize("path", ["/.lockgate/", "/.lockgate/deliveries/1", "/%2elockgate/x", "/.lockgat%65/x"])
def test_a_websocket_finds_nothing_below_them(path: str) -> None:
    """However it is written: a rule for everything must not lead what is Lockgate's to an upstream."""
    with pytest.raises(RefusedError) as refused:
        gateway().refuse_own(read_head(scope(path), (), sample=False))
    assert (refused.value.code, refused.value.status) == ("not_found", 404)


@pytest.mark.parametrize("path", ["/", "/.lockgates/x", "/lockgate/x", "/a/.lockgate/x", "/.LOCKGATE/x"])
def test_what_is_only_like_them_is_a_request_like_any(path: str) -> None:
    gateway().refuse_own(read_head(scope(path), (), sample=False))
