"""Properties of the guard: whatever a name leads to, nothing inside is connected to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.webhook.endpoint import checked
from adapters.webhook.guard import Guard

NOBODY = Guard(())
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
INNER = (
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "fec0::1",
    "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1", "", "localhost",
)  # fmt: skip


@pytest.mark.parametrize("address", INNER)
def test_what_is_inside_is_refused(address: str) -> None:
    assert not NOBODY.allows(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_what_is_public_is_not(address: str) -> None:
    assert NOBODY.allows(address)


@given(V4 | V6)
def test_nothing_is_allowed_that_python_calls_anything_but_global(address: IPv4Address | IPv6Address) -> None:
    """Two lists by two parties: ours may be stricter, and is never laxer."""
    if NOBODY.allows(str(address)):
        assert address.is_global
        named = ("multicast", "private", "loopback", "link_local", "reserved", "unspecified", "site_local")
        assert [each for each in named if getattr(address, f"is_{each}", False)] == []


@given(V4)
def test_an_ipv4_address_inside_an_ipv6_one_is_never_allowed(address: IPv4Address) -> None:
    number = int(address)
    for inside in (0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80, 0x20010000 << 96 | number):
        assert not NOBODY.allows(str(IPv6Address(inside)))


@given(V4 | V6, st.integers(0, 128))
def test_a_network_that_is_allowed_lets_in_its_addresses_and_no_others(address: IPv4Address | IPv6Address, length: int) -> None:
    network = ip_network((address, min(length, address.max_prefixlen)), strict=False)
    guard = Guard((str(network),))
    assert guard.allows(str(address))
    other = ip_address(int(address) ^ 1 << address.max_prefixlen - 1)
    assert other in network or guard.allows(str(other)) == NOBODY.allows(str(other))


@given(st.text(max_size=40))
def test_what_a_url_is_taken_for_is_where_it_leads(text: str) -> None:
    """Of whatever is put before, into and behind a host, only that very host passes."""
    for made in (f"https://{text}", f"https://good.example{text}", f"https://{text}good.example/", f"{text}https://good.example/"):
        try:
            url = checked(made, ("good.example",), insecure=False)
        except ValueError:
            continue
        assert (url.scheme, url.host, url.user, url.fragment) == ("https", "good.example", None, "")
        assert ".." not in url.raw_path.split("/")


@pytest.mark.parametrize(
    ("host", "passes"), [("a.example.com", True), ("a.b.example.com", True), ("example.com", False), ("badexample.com", False)]
)
def test_a_star_is_for_what_is_below_a_name(host: str, passes: bool) -> None:
    try:
        checked(f"https://{host}/", ("*.example.com",), insecure=False)
    except ValueError:
        assert not passes
    else:
        assert passes
