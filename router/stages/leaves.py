"""What a body holds beside its request text, as one text that detectors can read."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from router.decision import BodyView

_LONG_NUMBER = 10**8  # a card or account number may come as a JSON number


def beside_text(body: BodyView, most: int) -> tuple[str, bool]:
    """Every other string of a JSON body, one on a line with its key, or a body of another kind; and whether that is all of it.
    `most` is in characters."""
    if body.json is not None:
        return _leaves(body.json, body.text, most)
    if body.text is not None or not body.data:
        return "", True
    try:
        text = unquote_plus(body.data.decode("utf-8"), errors="strict")
    except UnicodeDecodeError:
        return "", False
    return text[:most], len(text) <= most


def _leaves(document: Any, text: str | None, most: int) -> tuple[str, bool]:
    lines: list[str] = []
    size = 0
    waiting = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, item) for item in value)
        elif (isinstance(value, str) and value is not text) or (isinstance(value, int) and abs(value) >= _LONG_NUMBER):
            lines.append(f"{key} = {value}" if key else str(value))
            size += len(lines[-1]) + 1
            if size > most:
                return "\n".join(lines)[:most], False
        elif key:
            lines.append(key)
    return "\n".join(lines), True
