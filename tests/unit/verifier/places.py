"""Every place in a JSON document, and changes at one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Path = tuple[str | int, ...]


def paths(value: Any, at: Path = ()) -> list[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for name, item in inner for path in paths(item, (*at, name)))]


def put(document: Any, path: Path, change: Callable[[Any, str | int], Any]) -> None:
    for name in path[:-1]:
        document = document[name]
    change(document, path[-1])
