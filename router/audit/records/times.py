"""Back from the text of an instant in a leaf (`canonical.timestamp`)."""

from __future__ import annotations

from datetime import datetime


def nanoseconds(text: str) -> int:
    """Unix time. Raises ValueError when it is not such a text."""
    if len(text) != 30 or text[19] != "." or text[29] != "Z":
        raise ValueError(f"{text!r} is not an instant as leaves have it")
    return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()) * 1_000_000_000 + int(text[20:29])
