"""From `audit.witnesses` to running parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from adapters.witness_http import WitnessHttp
from router.audit.questions.reader import LedgerReader
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, latest_witnessed
from router.audit.tree.merkle import verify_consistency
from router.audit.tree.proof import prove_consistency, tree_root
from router.audit.witnesses.policy import WitnessPolicy, reachable, shown, verifying_policy
from router.audit.witnesses.showing import SECOND, UNREACHABLE, Asked, LedgerView, Witnessing
from router.config.identity import secure_url
from router.config.witnesses import WitnessesConfig
from router.errors import AuditError, ConfigError
from router.ports import Clock
from router.telemetry.names import METRICS
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")


class ReadLedger(LedgerView):
    """The ledger's file through a reader of its own, on one thread."""

    def __init__(self, open_reader: Callable[[], LedgerReader]) -> None:
        self._open_reader = open_reader
        self._reader: LedgerReader | None = None
        self._thread = ThreadPoolExecutor(1, "witnessed-ledger")

    async def newest(self) -> str | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._opened().latest_checkpoint())

    async def prove(self, old: int, checkpoint: Checkpoint) -> Sequence[bytes]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: _proof(self._opened(), old, checkpoint))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _opened(self) -> LedgerReader:
        if self._reader is None:
            self._reader = self._open_reader()
        return self._reader

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _proof(reader: LedgerReader, old: int, checkpoint: Checkpoint) -> list[bytes]:
    """Held against what was signed: else a witness would be blamed for a disk."""
    proof = prove_consistency(reader, old, checkpoint.size)
    if not verify_consistency(old, checkpoint.size, tree_root(reader, old), checkpoint.root, proof):
        raise AuditError(f"What is stored does not lead to the checkpoint of {checkpoint.size} records.", "audit_tree_broken")
    return proof


class Witnesses:
    """The witnessing of one ledger, from its start to its end. `keep` stores a cosigned note."""

    def __init__(
        self,
        workspace: Workspace,
        config: WitnessesConfig,
        signer: NoteSigner,
        clock: Clock,
        open_reader: Callable[[], LedgerReader],
        keep: Callable[[str, bool], Awaitable[None]],
    ) -> None:
        """Raises ConfigError where the policy file cannot be used."""
        self._config = config
        self._file = workspace.path(config.policy)
        self._directory = workspace.path(workspace.config.audit.checkpoint.directory)
        self._view = ReadLedger(open_reader)
        self._clock = clock
        policy = usable_policy(self._file, signer.verifier)
        self._calls = WitnessHttp(config.timeout, workspace.path(config.ca) if config.ca is not None else None)
        self.witnessing = Witnessing(policy, self._view, self._calls, signer, clock, keep, config.renew)
        self.asked: Asked | None = None
        self._running: asyncio.Task[None] | None = None

    async def agree(self) -> None:
        """Before anything is signed. Raises AuditError `audit_rolled_back`, `audit_forked`, and `audit_witness_unreachable` where that
        is to end the start."""
        if self.witnessing.policy.splits:
            log.warning("%s: witnesses can be parted so that each part makes up a quorum, and could be shown two histories", self._file)
        known = latest_witnessed(self._directory)
        if known is not None:
            self.witnessing.remembered(known)
        self.asked = await self.witnessing.agree()
        if self.met:
            return
        if self._config.unreachable == "refuse":
            sentence = f"Too few witnesses confirm where the ledger ends ({UNREACHABLE}), so nothing starts."
            raise AuditError(f"{sentence} {_why(self.asked)}", UNREACHABLE)
        log.error("too few witnesses confirm where the ledger ends; it goes on unwitnessed, and on record. %s", _why(self.asked))

    @property
    def met(self) -> bool:
        return self.asked is not None and self.witnessing.policy.met(self.asked.now)

    def record(self) -> tuple[str, dict[str, object]]:
        """The event and details of the record of what `agree` found."""
        asked = self.asked
        details: dict[str, object] = {"policy": sha256(self._file.read_bytes()).hexdigest()}
        if asked is not None:
            details["records"] = asked.checkpoint.size
            details["cosigned"] = [shown(name) for name in sorted(asked.now)]
            details["failed"] = [{"witness": shown(name), "reason": error.code} for name, error in sorted(asked.failures.items())]
        return "witnessed" if self.met else "unwitnessed", details

    async def start(self) -> None:
        """From here on every newer checkpoint is shown."""
        if self.asked is not None:
            await self.witnessing.keep_asked(self.asked)
        self._running = asyncio.create_task(self.witnessing.run())

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._calls.close()
        await self._view.close()

    @property
    def stale(self) -> bool:
        """Whether readiness is to say no."""
        within = self._config.ready_within
        return within is not None and (self.witnessing.witnessed is None or self._age() > within)

    def figures(self) -> Iterator[Metric]:
        witnessed = self.witnessing.witnessed
        records = 0 if witnessed is None else witnessed[0]
        yield _gauge("lockgate.audit.witnessed.records", records)
        if witnessed is not None:  # without one there is no age, and a number would be made up
            yield _gauge("lockgate.audit.witnessed.age", self._age(), "seconds")
        name = "lockgate.audit.witness.failures"
        failures = CounterMetricFamily(name.replace(".", "_"), METRICS[name], labels=["witness", "reason"])
        for (witness, reason), count in list(self.witnessing.failures.items()):  # an exporter asks from a thread of its own
            failures.add_metric([shown(witness), reason], count)
        yield failures

    def _age(self) -> float:
        witnessed = self.witnessing.witnessed
        return 0.0 if witnessed is None else max(0.0, self._clock.now_ns() / SECOND - witnessed[1].as_of)


def usable_policy(file: Path, verifier: str | None) -> WitnessPolicy:
    """A policy under which something can be witnessed. `verifier` is the ledger's public key, where it is known. Raises ConfigError."""
    try:
        policy = verifying_policy(file, verifier)
    except AuditError as error:
        raise ConfigError(f"{file}:1: {error}") from error
    if not policy.met({witness.name for witness in reachable(policy)}):
        raise ConfigError(f"{file}:1: The witnesses with a URL are too few for the quorum, so that it could never be met.")
    for witness in reachable(policy):
        try:
            secure_url(witness.url or "")
        except ValueError as error:
            raise ConfigError(f"{file}:1: The URL of witness '{shown(witness.name)}' {error}.") from error
    return policy


def _why(asked: Asked) -> str:
    return " ".join(f"{shown(name)}: {error} ({error.code})" for name, error in asked.failures.items())


def _gauge(name: str, value: float, unit: str = "") -> Metric:
    return GaugeMetricFamily(name.replace(".", "_"), METRICS[name], value, unit=unit)
