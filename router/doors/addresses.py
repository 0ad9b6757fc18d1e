"""Which addresses may call at all: looked at before anybody is asked who they are. Cheap, whatever the length of the lists."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from router.errors import RefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LONGEST = 64  # of an address's text; whoever may make a longer one is not kept in memory
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def parsed(text: str) -> Address | None:
    """An IPv4 address that a socket for both kinds gives is that address, and a zone says nothing of it. None for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


class Networks:
    """Membership by one look-up for each length of prefix in use."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._lengths: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for each in networks:
            network = _unmapped(ipaddress.ip_network(each))
            kept = self._lengths[network.version].setdefault(network.max_prefixlen - network.prefixlen, set())
            kept.add(int(network.network_address) >> (network.max_prefixlen - network.prefixlen))

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        return any(number >> shift in kept for shift, kept in self._lengths[address.version].items())


def _unmapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


class AddressList:
    """What is denied is denied; where something is allowed, nothing else is."""

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        allowed = tuple(allow)
        self._allow = Networks(allowed) if allowed else None
        self._deny = Networks(deny)
        self._admits = lru_cache(maxsize=4096)(self._judge)

    def check(self, client: str) -> None:
        """Raises RefusedError; also for what is no address."""
        if len(client) > LONGEST or not self._admits(client):
            raise RefusedError("Requests from this address are not served.", "address_refused", 403)

    def _judge(self, client: str) -> bool:
        address = parsed(client)
        if address is None or address in self._deny:
            return False
        return self._allow is None or address in self._allow


def address_list(allow: Iterable[str], deny: Iterable[str]) -> AddressList | None:
    """None where everybody may call, so that nobody pays for it."""
    allowed, denied = tuple(allow), tuple(deny)
    return AddressList(allowed, denied) if allowed or denied else None
