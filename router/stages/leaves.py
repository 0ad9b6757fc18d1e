"""What a body holds beside its request text, as one text that detectors can read."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from router.decision import BodyView

_LONG_NUMBER = 10**8  # a card or account number may come as a JSON number


def named(key: str, value: str) -> str:
    """A JSON member as detectors read it: the key says what the value is, which begins its own line."""
    return f'{key} =\n"{value}"' if key else value


def beside_text(body: BodyView, most: int) -> tuple[str, bool]:
    """Every other string of a JSON body, its keys, and its long numbers; or a body of another kind. And whether that is all of it.
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
    left = most
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend(("" if place else key, item) for place, item in enumerate(value))
        elif value != text and (line := _line(key, value)):
            lines.append(line)
            left -= len(line) + 1
            if left < 0:
                return "\n".join(lines)[:most], False
    return "\n".join(lines), True


def _line(key: str, value: Any) -> str:
    if isinstance(value, str):
        return named(key, value)
    return named(key, str(value)) if isinstance(value, int) and abs(value) >= _LONG_NUMBER else key
