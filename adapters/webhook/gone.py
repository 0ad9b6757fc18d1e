"""Endpoints that said that they are gone (410). A file for each in the state, so that it is known after a restart and to every worker, and
so that a person can take it away again; where nodes share state, a mark there instead, which all of them heed. Nothing of a URL but its
host is in either: the rest may be a secret."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import orjson

from router.durable import remove, replace
from router.errors import StateError
from router.ports import Marks

log = logging.getLogger("lockgate.destinations")
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
        self._marks: Marks | None = None

    def share(self, marks: Marks | None) -> None:
        """None where each node keeps for itself, from now on."""
        self._marks = marks

    async def has(self, url: str) -> bool:
        """Looks each time: a person may have taken it away. Where nobody can be asked, what this node knows decides: one message more does
        no harm."""
        endpoint = _endpoint(url)
        if endpoint in self._here or (self._folder is not None and (self._folder / f"{endpoint}.json").exists()):
            return True
        try:
            return self._marks is not None and await self._marks.find(f"{self._destination}/{endpoint}") is not None
        except StateError:
            return False

    async def add(self, url: str, host: str, since: int, decision: str) -> None:
        """Where the other nodes cannot be told, this one keeps it."""
        endpoint = _endpoint(url)
        told = Ended(self._destination, endpoint, host, since, decision)
        try:
            if self._marks is not None:
                await self._marks.put(f"{self._destination}/{endpoint}", _packed(told))
                return
        except StateError as error:
            log.warning("other nodes are not told that an endpoint of '%s' is gone: %s", self._destination, error)
        self._keep(told)

    def _keep(self, told: Ended) -> None:
        try:
            if self._folder is None:
                raise OSError
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replace(self._folder / f"{told.endpoint}.json") as file:
                file.write(_packed(told) + b"\n")
        except OSError:  # at least this process keeps to it
            self._here.add(told.endpoint)


def ended(state: Path) -> list[Ended]:
    """Of all destinations. A file that nobody can read stands there with its name alone: it counts all the same."""
    return [_read(path) for path in sorted((state / FOLDER).glob("*/*.json"))]


def enable(state: Path, each: Ended) -> None:
    """Durable when it returns. Raises OSError. One that this node does not keep is one that all do."""
    path = state / FOLDER / each.destination / f"{each.endpoint}.json"
    if path.exists():
        remove(path)


async def ended_everywhere(marks: Marks) -> list[Ended]:
    """As `ended`, of those that nodes share. Raises StateError."""
    return [_told(*name.rpartition("/")[::2], content) for name, content in sorted((await marks.all()).items())]


async def enable_everywhere(each: Ended, marks: Marks) -> None:
    """Raises StateError."""
    await marks.remove(f"{each.destination}/{each.endpoint}")


def _read(path: Path) -> Ended:
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    return _told(path.parent.name, path.stem, content)


def _told(destination: str, endpoint: str, content: bytes) -> Ended:
    try:
        told = orjson.loads(content)
        return Ended(destination, endpoint, str(told["host"]), int(told["since"]), str(told["decision"]))
    except (ValueError, LookupError, TypeError):
        return Ended(destination, endpoint, "", 0, "")


def _packed(each: Ended) -> bytes:
    return orjson.dumps({"schema": SCHEMA, **_fields(each)}, option=orjson.OPT_INDENT_2)


def _endpoint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _fields(each: Ended) -> dict[str, object]:
    return {name: getattr(each, name) for name in ("destination", "host", "since", "decision")}
