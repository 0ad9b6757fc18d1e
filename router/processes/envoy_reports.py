"""What Envoy's access log says of requests that another node decided: an Envoy reports to one node, and only the one that decided can say
on record how a request ended. They leave such reports for each other, sealed, where they share their other state."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from prometheus_client.metrics_core import CounterMetricFamily, Metric

from router.errors import AuditError
from router.telemetry.names import METRICS
from router.wiring.nodes import EnvoyReportStore

log = logging.getLogger("lockgate.envoy")
TURN_S = 0.5
PRUNED_EVERY = 60  # turns
MOST = 20_000
"""Reports that wait for their turn; of more the oldest are lost, and counted."""
EACH = 500  # reports in a row
NONCE = 12
FORMAT = 1
LAST_S = 3.0
AGAIN = frozenset({"audit_store_unavailable", "audit_unsettled"})
"""Failures of the database after which the same may be left there later."""
NODE = -1  # where a report, the fields of `doors.envoy.outcomes.Report` in their order, has its node
Reports = Sequence[Sequence[Any]]


class EnvoyReports:
    """`node` is this start's own id; `key` gives the nodes' sealing key, from which another is derived; `here` takes what this node
    decided."""

    def __init__(self, store: EnvoyReportStore, node: str, key: Callable[[], bytes]) -> None:
        self.here: Callable[[Reports], Awaitable[None]] = _nobody
        self._store = store
        self._node = node
        self._key = key
        self._cipher: AESGCM | None = None
        self._waiting: deque[Sequence[Any]] = deque()
        self._counts = Counter[str]()
        self._problem: str | None = None
        self._forged = False
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """May wait. Raises AuditError, ConfigError."""
        self._cipher = AESGCM(HKDF(SHA256(), 32, None, b"lockgate envoy reports 1").derive(await asyncio.to_thread(self._key)))
        await asyncio.to_thread(self._store.open)
        self._keeping = asyncio.create_task(self._keep())

    async def ended(self, reports: Reports) -> None:
        """What a worker was told and did not decide itself."""
        mine = [each for each in reports if each[NODE] in ("", self._node)]
        if mine:
            await self.here(mine)
        self._wait([each for each in reports if each[NODE] not in ("", self._node)])

    async def turn(self) -> None:
        """Leaves for the others what waits, and takes what they left. Raises AuditError."""
        told = list(self._waiting)
        self._waiting.clear()
        try:
            taken = await asyncio.to_thread(self._exchanged, told)
        except asyncio.CancelledError:
            self._wait(told, first=True)  # it may come twice
            raise
        except Exception as error:
            if isinstance(error, AuditError) and error.code in AGAIN:
                self._wait(told, first=True)
            else:  # what cannot be left must not keep what comes after it
                self._counts["lost"] += len(told)
            raise
        self._counts["sent"] += len(told)
        for reports in taken:
            self._counts["taken"] += len(reports)
            await self.here(reports)

    def figures(self) -> Iterator[Metric]:
        name = "lockgate.envoy.reports"
        family = CounterMetricFamily(name.replace(".", "_"), METRICS[name], labels=["result"])
        for result in ("sent", "taken", "lost", "forged"):
            family.add_metric([result], self._counts[result])
        yield family

    async def close(self) -> None:
        """The others are told what this node was told last. Twice is harmless."""
        if self._keeping is None:
            return
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self._keeping = None
        if self._problem is None and self._waiting:
            try:
                async with asyncio.timeout(LAST_S):
                    await self.turn()
            except (AuditError, TimeoutError) as error:  # their outcomes are then what the response's head told
                log.warning("the last reports of Envoy's access log did not reach the nodes that decided: %s", error or "no answer in time")
        await asyncio.to_thread(self._store.close)

    async def _keep(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(TURN_S)
            turns += 1
            try:
                await self.turn()
                if turns % PRUNED_EVERY == 1:
                    await asyncio.to_thread(self._store.prune)
                self._problem = None
            except AuditError as error:
                if self._problem is None:
                    log.error("reports of Envoy's access log do not reach the nodes that decided: %s", error)
                self._problem = str(error)
            except Exception:  # the turns must go on
                log.exception("handing on reports of Envoy's access log failed in a way that nobody foresaw")

    def _exchanged(self, told: Reports) -> list[Reports]:
        """On a thread."""
        return [reports for reports in map(self._opened, self._store.exchange(self._sealed(told))) if reports]

    def _wait(self, reports: Reports, *, first: bool = False) -> None:
        if first:
            self._waiting.extendleft(reversed(reports))
        else:
            self._waiting.extend(reports)
        while len(self._waiting) > MOST:
            self._waiting.popleft()
            self._counts["lost"] += 1

    def _sealed(self, reports: Reports) -> list[tuple[str, bytes]]:
        by_node: defaultdict[str, list[Sequence[Any]]] = defaultdict(list)
        for each in reports:
            by_node[each[NODE]].append(each)
        return [
            (node, self._seal(node, several[start : start + EACH]))
            for node, several in by_node.items()
            for start in range(0, len(several), EACH)
        ]

    def _seal(self, node: str, reports: Reports) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._opener().encrypt(nonce, orjson.dumps([FORMAT, list(reports)]), node.encode())

    def _opened(self, sealed: bytes) -> Reports:
        """Who writes to the database can take reports away, and can invent none. One that is there again finds nobody who waits for it."""
        try:
            version, found = orjson.loads(self._opener().decrypt(sealed[:NONCE], sealed[NONCE:], self._node.encode()))
        except (InvalidTag, ValueError):
            self._counts["forged"] += 1
            if not self._forged:
                self._forged = True
                log.error(
                    "A report of Envoy's access log was not sealed with this node's sealing key; such reports are ignored, and counted."
                )
            return ()
        return found if version == FORMAT else ()  # another release's, during an upgrade

    def _opener(self) -> AESGCM:
        if self._cipher is None:
            raise AuditError("Reports of Envoy's access log are not opened.", "audit_closed")
        return self._cipher


async def _nobody(_: Reports) -> None:
    """Before there are workers nothing was decided."""
