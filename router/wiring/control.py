"""What the control API asks of the running process."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from router.config.shared_state import RedisSettings
from router.control.acts import Acts
from router.control.services import (
    Alarm,
    Check,
    ControlServices,
    DeliveryDesk,
    Governance,
    Json,
    Labels,
    Learning,
    Nodes,
    Objectives,
    OwnNode,
    PolicyRollouts,
    PolicyTrials,
    Quality,
    Reviews,
)
from router.errors import LockgateError, RefusedError
from router.identity.certificate_callers import CertificateCallers
from router.identity.key_service import KeyService
from router.ports import Clock
from router.telemetry.merging import merge
from router.telemetry.names import METRICS
from router.wiring.control_policy import make_judge
from router.wiring.evidence_in import EvidenceIntake
from router.wiring.indexing import Indexing
from router.wiring.nodes import OpenApiKeys, api_keys_of
from router.wiring.questions import AuditQuestions
from router.wiring.reconciling import Reconciling
from router.wiring.sign_in import make_sign_in
from router.workspace import Workspace
from router.workspace_policies import EMBEDDED


class Supervised(Protocol):
    @property
    def alive(self) -> int: ...

    async def ask(self, kind: str) -> list[tuple[int, object]]: ...


class Reloading(Protocol):
    workspace: Workspace
    problem: str | None
    taken_up_s: float

    async def reload(self) -> str: ...

    async def pending(self) -> Json: ...


class LedgerState(Protocol):
    @property
    def size(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    @property
    def unsigned(self) -> int: ...

    async def ping(self) -> None: ...


class KeysState(Protocol):
    async def ping(self) -> None:
        """Raises AuditError where a subject's key could not be looked up now."""


class WitnessState(Protocol):
    @property
    def stale(self) -> bool:
        """Whether readiness is to say no."""

    def figures(self) -> Iterator[Metric]: ...


class BundleState(Protocol):
    problem: str | None

    @property
    def age(self) -> float | None: ...

    @property
    def stale(self) -> bool:
        """Whether everything is denied until the source confirms the policies."""


class CertificateState(Protocol):
    @property
    def problems(self) -> Mapping[str, str]:
        """Why a listener's changed files are not used, by listener."""

    def days(self) -> Iterator[tuple[str, float]]:
        """Until a listener's certificate expires, by listener."""

    def warnings(self) -> list[str]: ...


class RolloutState(Protocol):
    """What runs, if anything does, and what is in force over the workspace's own policies."""

    def described(self) -> Json | None: ...

    def override(self) -> Json | None: ...

    def figures(self) -> tuple[int, Mapping[str, int]]:
        """The step, from 1, and counts of it; 0 and none while nothing runs."""


class NodeState(Protocol):
    def figures(self) -> Iterator[Metric]: ...


class DrainState(Protocol):
    @property
    def check(self) -> Check | None:
        """Why it is not ready where it is drained; None while it serves."""


class ProcessStatus:
    """Implements the control API's status port."""

    def __init__(
        self,
        supervised: Supervised,
        reloading: Reloading,
        ledger: LedgerState,
        pending: Callable[[], int],
        witnesses: WitnessState | None = None,
        lags: Callable[[], Mapping[str, int]] = dict,
        bundles: BundleState | None = None,
        rollouts: RolloutState | None = None,
        certificates: CertificateState | None = None,
        nodes: NodeState | None = None,
        followed: Callable[[], int] = int,
        deliveries: Callable[[], Mapping[str, float]] = dict,
        notices: Callable[[], Iterable[Metric]] = tuple,
        learnt: Callable[[], Iterable[Metric]] = tuple,
        draining: DrainState | None = None,
        objectives: Callable[[], Iterable[Metric]] = tuple,
        envoy_reports: Callable[[], Iterable[Metric]] = tuple,
        returned: Callable[[], int] = int,
        keys: KeysState | None = None,
    ) -> None:
        self._keys = keys
        self._returned = returned
        self._draining = draining
        self._learnt = learnt
        self._objectives = objectives
        self._envoy_reports = envoy_reports
        self._notices = notices
        self.open_glass = [0]
        self._deliveries = deliveries
        self._followed = followed
        self._certificates = certificates
        self._nodes = nodes
        self._rollouts = rollouts
        self._supervised = supervised
        self._reloading = reloading
        self._ledger = ledger
        self._pending = pending
        self._lags = lags
        self._witnesses = witnesses
        self._bundles = bundles

    async def ready(self) -> Sequence[Check]:
        """Ready means: policy active and model loaded in every worker, the audit trail writable, the subjects' keys there, and nobody has
        taken this node out."""
        draining = self._draining.check if self._draining is not None else None
        checks = await self._checks()
        return checks if draining is None else [draining, *checks]

    async def _checks(self) -> Sequence[Check]:
        wanted = self._reloading.workspace.digests.config
        serving = [digest for _, digest in await self._supervised.ask("ping")]
        workers = Check("workers", bool(serving) and all(digest == wanted for digest in serving), f"{len(serving)} serve")
        try:
            await self._ledger.ping()
        except LockgateError as error:
            return [workers, Check("audit", ok=False, detail=error.code)]
        keys = await self._subject_keys()
        stale = self._witnesses is not None and self._witnesses.stale
        witnesses = [Check("witnesses", ok=False, detail="witness_stale")] if stale else []
        old = self._bundles is not None and self._bundles.stale
        bundles = [Check("policy", ok=False, detail="policy_stale")] if old else []
        return [workers, Check("audit", ok=True), *keys, *witnesses, *bundles, *await self._policy(), *await self._shared_state()]

    async def _subject_keys(self) -> Sequence[Check]:
        """Without them only who is known to this node already is served."""
        try:
            if self._keys is not None:
                await self._keys.ping()
        except LockgateError as error:
            return [Check("keys", ok=False, detail=error.code)]
        return ()

    async def _shared_state(self) -> Sequence[Check]:
        """Where it may be missed a node goes on serving without it; where it may not, another node may do better."""
        settings = self._reloading.workspace.shared_state
        if settings is None:
            return ()
        problems = sorted({str(problem) for _, problem in await self._supervised.ask("shared_state") if problem})
        missed = (
            isinstance(settings, RedisSettings) and settings.on_failure.limits == "deny" and bool(self._reloading.workspace.config.limits)
        )
        return [Check("shared_state", ok=not (problems and missed), detail=", ".join(problems))]

    def warnings(self) -> Sequence[str]:
        return self._certificates.warnings() if self._certificates is not None else ()

    async def _policy(self) -> Sequence[Check]:
        """An engine outside of the workers, as each of them sees it."""
        if self._reloading.workspace.config.policy.engine.adapter == EMBEDDED:
            return ()
        problems = sorted({str(problem) for _, problem in await self._supervised.ask("policy") if problem})
        return [Check("policy", ok=not problems, detail=", ".join(problems))]

    async def metrics(self) -> str:
        """Raises RefusedError where the configuration switches the page off."""
        if not self._reloading.workspace.config.telemetry.prometheus:
            raise RefusedError("telemetry.prometheus is off in the configuration.", "metrics_off", 404)
        pages = {str(index): str(page) for index, page in await self._supervised.ask("metrics")}
        return merge(pages, self.figures())

    def describe(self) -> Json:
        workspace = self._reloading.workspace
        digests, bundle = workspace.digests, workspace.bundle
        return {
            "version": version("lockgate"),
            "config_digest": digests.config,
            "catalog_digest": digests.catalog,
            "policy_digest": digests.policy,
            "intents": len(workspace.catalog.intents),
            "routes": len(workspace.catalog.routes),
            "workers": self._supervised.alive,
            "records": self._ledger.size,
            "last_reload_problem": self._reloading.problem,
            "certificate_problems": dict(self._certificates.problems) if self._certificates is not None else {},
            "policy_bundle": bundle.described() if bundle is not None else None,
            "policy_override": self._rollouts.override() if self._rollouts is not None else None,
            "policy_rollout": self._rollouts.described() if self._rollouts is not None else None,
        }

    async def pending(self) -> Json:
        return await self._reloading.pending()

    async def reload(self) -> Json:
        await self._reloading.reload()
        return self.describe()

    def figures(self) -> list[Metric]:
        """Of the whole, as they are now."""
        values = {
            "lockgate.audit.records": self._ledger.size,
            "lockgate.audit.waiting": self._ledger.waiting,
            "lockgate.audit.unsigned": self._ledger.unsigned,
            "lockgate.audit.keys.returned": self._returned(),
            "lockgate.workers": self._supervised.alive,
            "lockgate.reviews.pending": self._pending(),
            "lockgate.control.break_glass": self.open_glass[0],
            "lockgate.work.followed": self._followed(),
            "lockgate.draining": int(self._draining is not None and self._draining.check is not None),
        }
        age = time.monotonic() - self._reloading.taken_up_s
        witnessed = () if self._witnesses is None else self._witnesses.figures()
        age_gauge = _gauge("lockgate.config.age", age, "seconds")
        aged = self._bundles.age if self._bundles is not None else None
        bundle = _gauge("lockgate.policy.age", aged or 0.0, "seconds")
        state = [_gauge(name, value, "bytes") for name, value in state_disk(self._reloading.workspace).items()]
        gauges = [_gauge(name, value) for name, value in values.items()]
        gauges += [_gauge(name, value, "seconds" if name.endswith(".age") else "") for name, value in self._deliveries().items()]
        nodes = () if self._nodes is None else self._nodes.figures()
        return [
            *gauges,
            *state,
            age_gauge,
            bundle,
            *witnessed,
            self._lagging(),
            self._expiring(),
            *self._rolling(),
            *nodes,
            *self._notices(),
            *self._learnt(),
            *self._objectives(),
            *self._envoy_reports(),
        ]

    def _rolling(self) -> Iterator[Metric]:
        step, counts = self._rollouts.figures() if self._rollouts is not None else (0, {})
        yield _gauge("lockgate.policy.rollout.step", step)
        yield _gauge("lockgate.policy.overridden", int(self._rollouts is not None and self._rollouts.override() is not None))
        name = "lockgate.policy.rollout.requests"
        family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=["result"])
        for result, count in counts.items():
            family.add_metric([result], count)
        yield family

    def _expiring(self) -> Metric:
        name = "lockgate.tls.expiry"
        family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=["listener"], unit="days")
        for listener, days in self._certificates.days() if self._certificates is not None else ():
            family.add_metric([listener], days)
        return family

    def _lagging(self) -> Metric:
        name = "lockgate.audit.projection.lag"
        family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=["projection"])
        for projection, records in self._lags().items():
            family.add_metric([projection], records)
        return family


def state_disk(workspace: Workspace) -> dict[str, int]:
    """Nothing of one that does not say."""
    try:
        disk = shutil.disk_usage(workspace.path(workspace.config.state))
    except OSError:
        return {}
    return {"lockgate.state.capacity": disk.total, "lockgate.state.free": disk.free}


def _gauge(name: str, value: float, unit: str = "") -> Metric:
    return GaugeMetricFamily(name.replace(".", "_"), METRICS[name], value, unit=unit)


@dataclass(frozen=True, slots=True)
class Control:
    services: ControlServices
    audit: AuditQuestions
    keys: OpenApiKeys
    evidence: EvidenceIntake
    reconciling: Reconciling
    indexing: Indexing

    async def close(self) -> None:
        await self.indexing.close()
        await self.evidence.close()
        await self.reconciling.close()
        await self.audit.close()
        await asyncio.to_thread(self.keys.close)
        if self.services.sign_in is not None:
            await self.services.sign_in.close()


def make_control(
    workspace: Workspace,
    audit: AuditQuestions,
    evidence: EvidenceIntake,
    reconciling: Reconciling,
    reviews: Reviews,
    status: ProcessStatus,
    clock: Clock,
    governance: Governance,
    indexing: Indexing,
    policies: PolicyTrials | None = None,
    rollouts: PolicyRollouts | None = None,
    nodes: Nodes | None = None,
    deliveries: DeliveryDesk | None = None,
    rules: Callable[[], Mapping[str, str]] | None = None,
    verifier: str = "",
    learning: Learning | None = None,
    labels: Labels | None = None,
    certificates: CertificateCallers | None = None,
    alarm: Alarm | None = None,
    quality: Quality | None = None,
    node: OwnNode | None = None,
    objectives: Objectives | None = None,
) -> Control:
    control = workspace.config.control
    keys = api_keys_of(workspace, clock)
    keys.open()
    sign_in = make_sign_in(workspace, clock)
    hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if control.listen.loopback else None
    services = ControlServices(
        audit,
        reviews,
        KeyService(keys, clock),
        status,
        hosts,
        audit.record,
        evidence,
        reconciling,
        governance=governance,
        indexing=indexing,
        policies=policies,
        rollouts=rollouts,
        nodes=nodes,
        deliveries=deliveries,
        sign_in=sign_in,
        judge=make_judge(workspace),
        acts=Acts(audit.record, audit.pseudonym),
        own_tenant=control.tenants == "own",
        rules=rules,
        verifier=verifier,
        learning=learning,
        labels=labels,
        certificates=certificates,
        **({} if alarm is None else {"alarm": alarm}),
        quality=quality,
        node=node,
        objectives=objectives,
    )
    return Control(services, audit, keys, evidence, reconciling, indexing)
