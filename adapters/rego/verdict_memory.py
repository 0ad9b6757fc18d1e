"""Verdicts remembered by all that their policies could read. A policy's answer is a function of its text, its data and those values, so
the same values have the same verdict; a request that differs only in what no rule looks at (its id, its time) is not evaluated again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from router.decision import Verdict

Path = tuple[str, ...]
KINDS = {dict: "object", list: "array", tuple: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
_NOWHERE: Mapping[str, Any] = {}
MOST = 4096
MOST_BYTES = 2048  # of one key: a caller must not fill the memory with what it sends


class VerdictMemory:
    """The verdicts of one question under one set of policies; the oldest are forgotten. `paths` say what is read, `kinds` of what only the
    kind is. Any thread may use it."""

    def __init__(self, paths: Sequence[Path], kinds: Sequence[Path] = ()) -> None:
        places: dict[Path, list[str]] = {}
        for path in paths:
            places.setdefault(path[:-1], []).append(path[-1])
        self._places = tuple((above, tuple(names)) for above, names in places.items())
        self._kinds = tuple(kinds)
        self._verdicts: dict[bytes, Verdict] = {}
        self._writing = threading.Lock()

    def key(self, document: Mapping[str, Any]) -> bytes | None:
        """JSON of the values, as the engine would be given them, and which of them are there; None where it is too long or no JSON."""
        values: list[Any] = []
        absent: list[tuple[Path, str]] = []
        for above, names in self._places:
            node: Any = document
            for part in above:
                node = node.get(part) if isinstance(node, dict) else None
            here = node if isinstance(node, dict) else _NOWHERE
            for name in names:
                if name in here:
                    values.append(here[name])
                else:
                    absent.append((above, name))
        values.extend(_kind(document, path) for path in self._kinds)
        try:
            key = orjson.dumps([absent, *values])
        except TypeError:
            return None
        return key if len(key) <= MOST_BYTES else None

    def get(self, key: bytes) -> Verdict | None:
        return self._verdicts.get(key)

    def put(self, key: bytes, verdict: Verdict) -> None:
        with self._writing:
            self._verdicts[key] = verdict
            if len(self._verdicts) > MOST:
                del self._verdicts[next(iter(self._verdicts))]


def _kind(document: Mapping[str, Any], path: Path) -> str:
    node: Any = document
    for part in path:
        if not isinstance(node, dict) or part not in node:
            return "absent"
        node = node[part]
    return KINDS.get(type(node), "other")
