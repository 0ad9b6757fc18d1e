"""What an agent says of itself, and whether it is to be believed: a card must not lead elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from a2a.client import ClientConfig, ClientFactory
from a2a.client.client import Client
from a2a.types import AgentCard
from httpx import AsyncClient

from adapters.messaging.destination import failure
from router.errors import DestinationError

BINDINGS = ("JSONRPC", "HTTP+JSON")
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Agent:
    """`since`: seconds, monotonic, when the card was read."""

    client: Client
    since: float


def agent(card: AgentCard, url: str, skill: str | None, http: AsyncClient, now: float) -> Agent:
    """Raises DestinationError, which is not final: the card is the agent's to change."""
    usable = [each for each in card.supported_interfaces if each.protocol_binding in BINDINGS and _origin(each.url) == _origin(url)]
    if not usable:
        raise mismatch("the agent's card names no interface (JSON-RPC or HTTP+JSON) at the scheme, host and port of 'url'")
    if skill is not None and skill not in {each.id for each in card.skills}:
        raise mismatch(f"the agent's card names no skill '{skill}'")
    kept = AgentCard()
    kept.CopyFrom(card)
    del kept.supported_interfaces[:]
    kept.supported_interfaces.extend(usable)
    config = ClientConfig(streaming=False, polling=True, httpx_client=http, supported_protocol_bindings=list(BINDINGS))
    return Agent(ClientFactory(config).create(kept), now)


def mismatch(sentence: str) -> DestinationError:
    made = failure("upstream_refused", sentence)
    made.final = False
    return made


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.username is not None or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), port
