"""Which addresses may be connected to, whatever name led there.

Everything is refused that IANA's special-purpose registries set apart, multicast, what carries an IPv4 address inside an IPv6 one, and
the addresses of clouds' own services; in IPv6 everything but global unicast. What is configured as allowed goes before.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_V4 = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's, public by its number only
    )
)  # fmt: skip
_GLOBAL = IPv6Network("2000::/3")
_V6 = tuple(
    ip_network(each)
    for each in (
        "2001::/23",  # Teredo among others
        "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip


class AddressRefusedError(OSError):
    """A name leads to an address that may not be connected to. It names no address: whoever chose the name is not told."""

    def __init__(self) -> None:
        super().__init__("the endpoint's host has an address that may not be connected to")


class Guard:
    """`allowed`: networks, as configured."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(ip_network(each) for each in allowed)

    def __repr__(self) -> str:
        return f"Guard(allowed={[str(each) for each in self._allowed]})"

    def allows(self, text: str) -> bool:
        """What is no address is not allowed."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return any(address in each for each in self._allowed if each.version == address.version) or _public(address)


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in each for each in _V4)
    return address in _GLOBAL and not any(address in each for each in _V6)


class CheckedResolver(AbstractResolver):
    """A host one of whose addresses is refused is refused: which of them would be taken is not left to chance."""

    def __init__(self, guard: Guard, resolver: AbstractResolver | None = None) -> None:
        self._guard = guard
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not found or not all(self._guard.allows(each["host"]) for each in found):
            raise AddressRefusedError
        return found

    async def close(self) -> None:
        await self._resolver.close()


def checked_socket(guard: Guard, info: tuple[object, ...]) -> socket.socket:
    """The socket that is about to be connected: the last place, which no answer of a name server, no cache and no address written as a
    host goes around."""
    family, kind, protocol, _, where = info
    if not isinstance(where, tuple) or not guard.allows(str(where[0])):
        raise AddressRefusedError
    return socket.socket(family=family, type=kind, proto=protocol)  # type: ignore[arg-type]  # as getaddrinfo gives them
