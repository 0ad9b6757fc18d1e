"""Where somebody signed in from and with what, as exactly as it takes to tell one's own sessions apart and no more: it is kept beside the
session, ends with it, and is in no record."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

# The first that is named is it: browsers name those that they want to be taken for as well.
BROWSERS = (("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))
HERE, WIDTHS = "this machine", {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class Seen:
    """`network` as `203.0.113.0/24` or `this machine`, `browser` as `Firefox on Linux`; empty where it is not known."""

    network: str
    browser: str


def seen(address: str, agent: str) -> Seen:
    return Seen(_network(address), _browser(agent))


def _network(address: str) -> str:
    """256 neighbours of IPv4, or one site of IPv6."""
    try:
        told = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    told = getattr(told, "ipv4_mapped", None) or told
    return HERE if told.is_loopback else str(ip_network((told, WIDTHS[told.version]), strict=False))


def _browser(agent: str) -> str:
    """One of our own words: what was sent is not kept."""
    browser = next((name for sign, name in BROWSERS if sign in agent), "")
    system = next((name for sign, name in SYSTEMS if sign in agent), "")
    return f"{browser} on {system}" if browser and system else browser or system
