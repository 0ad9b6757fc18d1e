"""What Envoy says of a request, as the head that every door reads."""

from __future__ import annotations

import pytest

from router.doors.envoy.heads import address, is_grpc, is_upgrade, scope
from router.doors.head import read_head
from router.errors import RefusedError

HEAD = [(b":method", b"GET"), (b":path", b"/items/1?a=%20"), (b":authority", b"Yard:80"), (b":scheme", b"https"), (b"accept", b"*/*")]


def test_the_head_is_the_one_that_our_own_gateway_reads() -> None:
    head = read_head(scope(HEAD, "192.0.2.7:4711"), (), False)
    assert (head.method, head.host, head.path, head.query, head.scheme) == ("GET", "yard:80", "/items/1", "a=%20", "https")
    assert (head.peer, head.client) == ("192.0.2.7", "192.0.2.7")
    assert head.target == "/items/1?a=%20"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("192.0.2.7:80", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_addresses_with_and_without_ports(source: str, found: str) -> None:
    assert address(source) == found


def test_without_a_source_nobody_comes_in() -> None:
    with pytest.raises(RefusedError) as refused:
        scope(HEAD, "")
    assert refused.value.code == "envoy_source_missing"


def test_a_second_host_is_not_believed() -> None:
    """What HTTP/1.1 calls `host` is Envoy's `:authority`; a field of that name beside it means nothing."""
    head = read_head(scope([*HEAD, (b"host", b"other")], "192.0.2.7:1"), (), False)
    assert head.host == "yard:80"


def test_what_is_ambiguous_is_refused_as_everywhere() -> None:
    """The same reader: dot segments, encoded slashes, a credential twice."""
    for more in ([(b":path", b"/a/../b")], [(b":path", b"/a%2fb")], [(b"authorization", b"a"), (b"authorization", b"b")]):
        fields = [each for each in HEAD if each[0] not in {name for name, _ in more}] + more
        with pytest.raises(RefusedError):
            read_head(scope(fields, "192.0.2.7:1"), (), False)


def test_upgrades_and_grpc_are_known_by_their_fields() -> None:
    assert is_upgrade([(b"upgrade", b"WebSocket")])
    assert not is_upgrade([(b"upgrade", b"h2c")])
    assert is_grpc([(b"content-type", b"application/grpc+proto")])
    assert not is_grpc([(b"content-type", b"application/json")])
