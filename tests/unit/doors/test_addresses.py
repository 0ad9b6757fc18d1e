"""Which addresses may call."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.doors.addresses import AddressList, Networks, address_list, parsed
from router.errors import RefusedError

LIST = AddressList(["10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.0/120"], ["10.66.0.0/16", "2001:db8:bad::/48"])


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "192.0.2.9", "::ffff:192.0.2.9"])
def test_an_address_within_what_is_allowed_is_served(client: str) -> None:
    """An IPv4 address is one, however it is written."""
    LIST.check(client)


@pytest.mark.parametrize(
    "client", ["10.66.1.1", "::ffff:10.66.1.1", "2001:db8:bad::1", "192.0.3.1", "::1", "", "unknown", "10.1.2.3:80", "1" * 200]
)
def test_any_other_is_refused(client: str) -> None:
    """What is denied within it, what is outside, and what is no address."""
    with pytest.raises(RefusedError) as refused:
        LIST.check(client)
    assert (refused.value.code, refused.value.status) == ("address_refused", 403)


def test_with_nothing_allowed_all_but_the_denied_are_served() -> None:
    """And what is no address is not, since it may be a denied one's."""
    denying = AddressList([], ["0.0.0.0/0"])
    denying.check("2001:db8::1")
    for client in ("203.0.113.1", "::ffff:203.0.113.1", "nobody"):
        with pytest.raises(RefusedError):
            denying.check(client)


def test_no_lists_cost_nothing() -> None:
    """There is nothing to ask."""
    assert address_list([], []) is None


@given(
    st.lists(
        st.builds(lambda a, p: str(ipaddress.ip_network((a, p), strict=False)), st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=8
    ),
    st.integers(0, 2**32 - 1),
)
def test_membership_is_what_the_networks_say(networks: list[str], number: int) -> None:
    """The same as looking through all of them."""
    address = ipaddress.IPv4Address(number)
    assert (address in Networks(networks)) is any(address in ipaddress.ip_network(each) for each in networks)


def test_a_zone_says_nothing_of_the_address() -> None:
    """It is the host's own name of an interface."""
    assert parsed("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
