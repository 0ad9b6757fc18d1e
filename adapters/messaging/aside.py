"""What stands beside a message where undeliverable ones go: why it is there, and where it came from."""

from __future__ import annotations

from router.ports import Incoming

REASON, PLACE, TRIES, SOURCE = "x-lockgate-reason", "x-lockgate-place", "x-lockgate-tries", "x-lockgate-source"


def why(source: str, message: Incoming, reason: str) -> dict[str, str]:
    """Header fields, printable ASCII. `source` is the event source's name."""
    told = {REASON: reason, PLACE: message.place, TRIES: str(message.tries), SOURCE: source}
    return {name: _plain(value) for name, value in told.items()}


def _plain(value: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in value)
