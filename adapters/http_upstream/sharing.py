"""What nodes tell each other of upstreams that fail. Beside the requests: they see circuits, which are opened and closed here.

One process has the turn at an upstream: whose circuit opened first, or who probed last. It probes when its time is over. The others wait
for what it says, each a random while longer than that, and then probe as well: so few do at a time, and nobody's word holds for ever.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.outliers import Outliers
from router.errors import StateError
from router.ports import CircuitBoard, CircuitObserver, Posted, Random, Telling, Told

log = logging.getLogger("lockgate.destinations")
DOUBT = 3
"""Who said that an upstream fails which answers us is not heard about it for so many times as long as a circuit is open."""


SAID = {
    "heard_open": "another process saw it fail, and it is left alone here, too",
    "heard_closed": "another process had an answer, and it is asked again",
    "doubted": "another process says that it fails, which answered here when it last did; that is not believed for now",
}


class Shared(Protocol):
    """`name` is the same on every node."""

    name: str

    def tell(self, now: float) -> Telling | None:
        """News, once."""

    def untold(self, telling: Telling | None) -> None:
        """Nobody could be told, or heard."""

    def hear(self, posted: Posted, now: float) -> str | None:
        """Of another process. Returns what came of it: `heard_open`, `heard_closed`, `doubted` or nothing."""


class SharedCircuit:
    def __init__(self, name: str, circuit: Circuit, random: Random) -> None:
        self.name = f"circuit {name}"
        self._circuit = circuit
        self._random = random
        self._version = 0
        self._heard_from = ""
        self._doubted: dict[str, float] = {}

    def tell(self, now: float) -> Telling | None:
        circuit = self._circuit
        if self._heard_from and not circuit.is_open:  # by our own experience
            self._doubted = {who: until for who, until in self._doubted.items() if now < until}
            self._doubted[self._heard_from] = now + DOUBT * circuit.open_for
            self._heard_from = ""
        news, circuit.news = circuit.news, None
        if news is None or (news is Told.OPEN and not circuit.waits(now)):  # nobody could be told in time
            return None
        return Telling(self.name, news, circuit.lasts(now))

    def untold(self, telling: Telling | None) -> None:
        """That it has opened is told when somebody can be, if it is open still. That it has closed they find out by themselves."""
        self._circuit.alone()
        self._heard_from = ""
        if telling is not None and telling.what is not Told.CLOSED and self._circuit.is_open and self._circuit.news is None:
            self._circuit.news = telling.what

    def hear(self, posted: Posted, now: float) -> str | None:
        circuit = self._circuit
        if posted.version == self._version or circuit.news is not None:  # what has happened meanwhile is told first
            return None
        self._version = posted.version
        if not posted.open:
            was_open, self._heard_from = circuit.is_open, ""
            circuit.hear_closed()
            return "heard_closed" if was_open else None
        if posted.lasts <= 0:
            return None
        if now < self._doubted.get(posted.who, 0.0):
            return "doubted"
        was_open, self._heard_from = circuit.is_open, posted.who
        circuit.hear_open(now + min(posted.lasts, circuit.open_for), circuit.open_for * self._random.random())
        return None if was_open else "heard_open"


class SharedEjection:
    def __init__(self, name: str, index: int, outliers: Outliers) -> None:
        self.name = f"outlier {name}"
        self._index = index
        self._outliers = outliers
        self._version = 0

    def tell(self, now: float) -> Telling | None:
        lasts = self._outliers.news(self._index, now)
        return Telling(self.name, Told.OPEN, lasts) if lasts is not None else None

    def untold(self, telling: Telling | None) -> None:
        if telling is not None:
            self._outliers.untold(self._index)

    def hear(self, posted: Posted, now: float) -> str | None:
        if posted.version == self._version:
            return None
        self._version = posted.version
        heard = posted.open and posted.lasts > 0 and self._outliers.hear(self._index, posted.lasts, now)
        return "heard_open" if heard else None


class CircuitSharing:
    """Of one process. `now` is what circuits go by. Each turn takes as long as the board does, and then `interval` seconds."""

    def __init__(
        self, board: CircuitBoard, shared: Sequence[Shared], interval: float, now: Callable[[], float], observer: CircuitObserver
    ) -> None:
        self._who = secrets.token_hex(8)
        self._board = board
        self._shared = {each.name: each for each in shared}
        self._names = tuple(self._shared)
        self._interval = interval
        self._now = now
        self._observer = observer
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def exchange(self) -> None:
        now = self._now()
        told = {name: telling for name, each in self._shared.items() if (telling := each.tell(now)) is not None}
        try:
            posted = await self._board.exchange(self._who, [*told.values()], self._names)
        except StateError as error:
            self._observer.circuit_shared(error.code)
            for name, each in self._shared.items():
                each.untold(told.get(name))
            return
        for telling in told.values():
            self._observer.circuit_shared("told_closed" if telling.what is Told.CLOSED else "told_open")
        for name, news in posted.items():
            if news.who != self._who:
                self._hear(name, news)

    def _hear(self, name: str, posted: Posted) -> None:
        result = self._shared[name].hear(posted, self._now())
        if result is not None:
            self._observer.circuit_shared(result)
            log.warning("%s: %s", name, SAID[result])

    async def _run(self) -> None:
        while True:
            try:
                await self.exchange()
            except Exception:  # whatever stands on the board, it must not end the listening
                log.exception("what other processes say of upstreams could not be read")
            await asyncio.sleep(self._interval)
