"""Endpoints that said that they are gone (410). A file for each in the state, so that it is known after a restart and to every worker, and
so that a person can take it away again. Nothing of a URL but its host is in it: the rest may be a secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from router.durable import remove, replace

FOLDER = "endpoints"
SCHEMA = "lockgate.endpoint.v1"


@dataclass(frozen=True, slots=True)
class Ended:
    """`since` in seconds since 1970; `decision` is the one whose sending was answered with 410."""

    destination: str
    endpoint: str
    host: str
    since: int
    decision: str


class Gone:
    def __init__(self, state: Path | None, destination: str) -> None:
        """Without a state it is remembered for as long as this process lives."""
        self._folder = None if state is None else state / FOLDER / destination
        self._destination = destination
        self._here: set[str] = set()

    def __contains__(self, url: str) -> bool:
        """Looks at the file each time: a person may have taken it away."""
        endpoint = _endpoint(url)
        return endpoint in self._here or (self._folder is not None and (self._folder / f"{endpoint}.json").exists())

    def add(self, url: str, host: str, since: int, decision: str) -> None:
        endpoint = _endpoint(url)
        try:
            if self._folder is None:
                raise OSError
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            told = Ended(self._destination, endpoint, host, since, decision)
            with replace(self._folder / f"{endpoint}.json") as file:
                file.write(orjson.dumps({"schema": SCHEMA, **_fields(told)}, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError:  # at least this process keeps to it
            self._here.add(endpoint)


def ended(state: Path) -> list[Ended]:
    """Of all destinations. A file that nobody can read stands there with its name alone: it counts all the same."""
    return [_read(path) for path in sorted((state / FOLDER).glob("*/*.json"))]


def enable(state: Path, each: Ended) -> None:
    """Durable when it returns. Raises OSError."""
    remove(state / FOLDER / each.destination / f"{each.endpoint}.json")


def _read(path: Path) -> Ended:
    try:
        told = orjson.loads(path.read_bytes())
        return Ended(path.parent.name, path.stem, str(told["host"]), int(told["since"]), str(told["decision"]))
    except (OSError, ValueError, LookupError, TypeError):
        return Ended(path.parent.name, path.stem, "", 0, "")


def _endpoint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _fields(each: Ended) -> dict[str, object]:
    return {name: getattr(each, name) for name in ("destination", "host", "since", "decision")}
