"""One configuration, built: everything that serves its requests, and how to let go of it."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

from adapters.encoder_tier import EncoderTier
from adapters.http_upstream.sharing import CircuitSharing
from adapters.static_tier import StaticTier
from router.audit.outbox import Outboxes
from router.audit.recorder import Late, LedgerRecorder
from router.catalog import Idempotency
from router.config.cors import Cors as CorsSettings
from router.config.listeners import ConversationConfig, DecideConfig, StepsConfig
from router.decision import NO_BODY
from router.dispatch import Dispatcher
from router.doors.addresses import address_list
from router.doors.body import BodyLimits
from router.doors.cors import Cors, CorsPolicy, make_cors_policy
from router.doors.following import Fates
from router.doors.runtime import ConversationOptions, DoorOptions, HeldOptions, KeptAnswers, Runtime, StepOptions
from router.doors.under_way import UnderWay
from router.mirroring import Mirroring
from router.pipeline import Pipeline, Stages
from router.ports import (
    AnswerObserver,
    ChatObserver,
    CircuitObserver,
    Clock,
    Conversations,
    Ids,
    Ledger,
    PolicyEngine,
    PolicyObserver,
    Quotas,
    Random,
    Recorder,
    Repeats,
    ReviewStore,
    StateObserver,
    SubjectKeys,
)
from router.review.holding import Holding, Resumes
from router.review.waiting import ALONE_S, SHARED_S, Waits
from router.rollout.rolling import Rolling
from router.stages.alternatives import Standings
from router.stages.comparison import Comparison
from router.stages.lapsing import Lapse
from router.stages.routing import ABSTAIN_DENY, RoutingTable
from router.stages.rule import json_path
from router.stages.usual import Usual
from router.wiring.alternatives import make_alternatives
from router.wiring.candidate import Candidate, make_rolling
from router.wiring.circuits import share_circuits
from router.wiring.destinations import Destinations, make_destinations
from router.wiring.encoder import load_model, make_tiers, shared_tiers
from router.wiring.identity import Identity, make_identity
from router.wiring.llm import make_arbiter
from router.wiring.nodes import REVIEWS
from router.wiring.policy import Differences, make_policy, make_second_engine
from router.wiring.shared_state import SharedState, intent_limits, make_shared_state, rate_limiter
from router.wiring.sharing import share_among_nodes
from router.wiring.stages import make_stages, policy_parts
from router.wiring.terms import delivery_terms, spans
from router.workspace import Workspace, same_but_policies


class ForgettingKeys(SubjectKeys, Protocol):
    def forget(self, key_id: str) -> None: ...

    def usable_until(self, until: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What outlives every configuration. `outcomes`: the ledger, for records that nobody waits for; `usual`: what requests were like;
    `standings`: how routes did; `under_way`: how many there are now; `late`: outcomes that wait for the ledger; `lapse`: until when
    policies may decide; `quotas`: where policy's quotas are counted;
    `repeats`: where requests with an idempotency key are remembered; `outbox`: what events were decided, and what is to be delivered;
    `fates`: what became of that; `waits`: callers who wait for held requests; `resumes`: by what engines are resumed."""

    ledger: Ledger
    keys: ForgettingKeys
    reviews: ReviewStore
    clock: Clock
    ids: Ids
    random: Random
    workers: int = 1
    outcomes: Ledger | None = None
    usual: Usual = field(default_factory=Usual)
    standings: Standings = field(default_factory=Standings)
    under_way: UnderWay = field(default_factory=UnderWay)
    late: Late = field(default_factory=Late)
    lapse: Lapse | None = None
    quotas: Quotas | None = None
    repeats: Repeats | None = None
    outbox: Outboxes | None = None
    conversations: Conversations | None = None
    fates: Fates | None = None
    waits: Waits | None = None
    resumes: Resumes | None = None


class Measuring(AnswerObserver, ChatObserver, CircuitObserver, PolicyObserver, StateObserver, Protocol):
    def timed(self, recorder: Recorder) -> Recorder: ...

    def outcome_lost(self) -> None: ...

    def mirrored(self, result: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Built:
    workspace: Workspace
    runtime: Runtime
    stages: Stages
    identity: Identity
    destinations: Destinations
    tiers: tuple[StaticTier | EncoderTier, ...]
    services: Services
    policy: PolicyEngine
    mirroring: Mirroring
    shared_state: SharedState
    comparison: Comparison | None = None
    rolling: Rolling | None = None
    circuits: CircuitSharing | None = None

    async def close(self, keeping: Built | None = None) -> None:
        """`keeping` is the configuration that follows, which may go on using some parts."""
        if self.rolling is not None:
            await self.rolling.close()
        if keeping is None or keeping.destinations is not self.destinations:
            await self.mirroring.close()
            if self.circuits is not None:
                await self.circuits.close()
            await self.destinations.close(keeping.destinations if keeping is not None else None)
            await self.identity.close(keeping.identity if keeping is not None else None)
            await self.shared_state.close(keeping.shared_state if keeping is not None else None)
            for tier in self.tiers:
                tier.close()
        if self.comparison is not None and (keeping is None or keeping.comparison is not self.comparison):
            await self.comparison.close()
        if keeping is None or keeping.policy is not self.policy:
            await self.policy.close()


async def build(
    workspace: Workspace,
    model_path: str | None,
    services: Services,
    telemetry: Measuring,
    before: Built | None = None,
    plan: Any = None,
    candidate: Candidate | None = None,
) -> Built:
    """`plan` is the policies', where it is known; `candidate` other policies that are rolled out over them. Where the workspace is the very
    one that serves, everything of it goes on. Raises ConfigError and whatever an adapter's `open` raises; nothing is left open then."""
    if before is not None and before.workspace is workspace:
        runtime = replace(before.runtime, pipeline=_pipeline(before.stages, services, telemetry))
        built = replace(before, runtime=runtime, rolling=None)
    else:
        built = await _built(workspace, model_path, services, telemetry, before, plan)
    if candidate is None:
        return built
    try:
        rolling = await make_rolling(
            built.workspace, built.stages, candidate, services, partial(_pipeline, services=services, telemetry=telemetry)
        )
    except BaseException:
        await built.close(keeping=before)
        raise
    return replace(built, runtime=replace(built.runtime, pipeline=rolling), rolling=rolling)


async def _built(
    workspace: Workspace, model_path: str | None, services: Services, telemetry: Measuring, before: Built | None, plan: Any
) -> Built:
    if before is not None and same_but_policies(before.workspace, workspace):
        return await _rejudging(before, workspace, services, telemetry, plan)
    path = Path(model_path) if model_path is not None else None
    policy = make_policy(workspace, services.clock, telemetry, services.lapse, plan)
    model = await asyncio.to_thread(load_model, workspace, path) if path is not None else None
    async with AsyncExitStack() as opened:
        if model is not None:
            opened.callback(model.close)
        tiers = await asyncio.to_thread(make_tiers, workspace, model, path, services.under_way.alone)
        for tier in tiers:
            opened.callback(tier.close)
        destinations = await make_destinations(workspace, services.clock, services.random, before.destinations if before else None)
        opened.push_async_callback(destinations.close, before.destinations if before else None)
        identity = await make_identity(workspace, services.clock, before.identity if before else None)
        opened.push_async_callback(identity.close, before.identity if before else None)
        shared = await make_shared_state(workspace, telemetry, before.shared_state if before else None)
        opened.push_async_callback(shared.close, before.shared_state if before else None)
        await policy.open()
        opened.push_async_callback(policy.close)
        comparison = make_comparison(workspace, services, telemetry, plan)
        if comparison is not None:
            await comparison.open()
            opened.push_async_callback(comparison.close)
        arbiter = await asyncio.to_thread(make_arbiter, workspace, services.clock, services.workers, telemetry, shared.answers("llm"))
        quotas, limits = shared.quotas(services.quotas), intent_limits(workspace, shared.limiting(), services.clock, services.workers)
        asked = shared_tiers(workspace, tiers, model, shared.answers("encoder"))
        choice = make_alternatives(workspace.catalog, destinations, services.standings, services.clock)
        stages = make_stages(workspace, asked, model, policy, services.clock, services.usual, arbiter, comparison, quotas, limits, choice)
        mirroring = Mirroring(destinations.alone, services.random, telemetry.mirrored)
        runtime = _runtime(workspace, stages, services, telemetry, destinations, identity, mirroring, shared)
        share_among_nodes(shared, destinations)
        circuits = share_circuits(shared, destinations, services.clock, services.random, telemetry)
        opened.pop_all()
    parts = (workspace, runtime, stages, identity, destinations, tiers, services, policy, mirroring, shared, comparison)
    return Built(*parts, circuits=circuits)


async def _rejudging(before: Built, workspace: Workspace, services: Services, telemetry: Measuring, plan: Any) -> Built:
    """Another policy engine in what serves already: a role that was added to a table costs no model, no connection, no count of a limit."""
    policy = make_policy(workspace, services.clock, telemetry, services.lapse, plan)
    async with AsyncExitStack() as opened:
        await policy.open()
        opened.push_async_callback(policy.close)
        comparison = make_comparison(workspace, services, telemetry)
        if comparison is not None:
            await comparison.open()
        opened.pop_all()
    stages = replace(before.stages, **policy_parts(workspace, policy, comparison))
    runtime = replace(before.runtime, pipeline=_pipeline(stages, services, telemetry))
    return replace(before, workspace=workspace, runtime=runtime, stages=stages, policy=policy, comparison=comparison, rolling=None)


def _pipeline(stages: Stages, services: Services, telemetry: Measuring) -> Pipeline:
    recorder = LedgerRecorder(services.ledger, services.keys, services.clock, services.outcomes, services.late, telemetry.outcome_lost)
    return Pipeline(stages, telemetry.timed(recorder), services.clock, services.ids)


def _runtime(
    workspace: Workspace,
    stages: Stages,
    services: Services,
    telemetry: Measuring,
    destinations: Destinations,
    identity: Identity,
    mirroring: Mirroring,
    shared: SharedState,
) -> Runtime:
    return Runtime(
        pipeline=_pipeline(stages, services, telemetry),
        dispatcher=Dispatcher(destinations.by_route, stages.signals.mask, mirroring, destinations.others, _copies(workspace)),
        authenticator=identity.gateway,
        decide_authenticator=identity.decide,
        delegate_authenticator=identity.delegate,
        limiter=rate_limiter(workspace, shared.limiting(), services.clock, services.workers),
        holder=Holding(services.reviews, services.keys, services.clock, spans(workspace.config.review), services.resumes),
        options=replace(door_options(workspace), cors=make_cors(workspace, stages)),
        descriptions=descriptions(workspace, stages.routing),
        repeats=shared.repeats(services.repeats),
        conversations=shared.conversations(services.conversations),
        keys=services.keys,
        deliveries=delivery_terms(workspace),
        waits=services.waits,
    )


def _resuming(workspace: Workspace) -> dict[str, float]:
    return {name: route.resume.within for name, route in workspace.catalog.routes.items() if route.resume is not None}


def set_pace(waits: Waits | None, workspace: Workspace) -> None:
    """How often is looked whether another node went on with what callers wait for: nodes do not tell each other."""
    if waits is None:
        return
    nodes, review = workspace.config.nodes, workspace.config.review
    waits.look_s = SHARED_S if nodes is not None and REVIEWS in nodes.share else ALONE_S
    waits.most = review.waiting


def _copies(workspace: Workspace) -> dict[str, tuple[str, float]]:
    routes = workspace.catalog.routes.items()
    return {name: (route.mirror.destination, route.mirror.share) for name, route in routes if route.mirror is not None}


def descriptions(workspace: Workspace, routing: RoutingTable) -> dict[str, str]:
    """Descriptions by intent, without those that are not to be named when they are likely: their abstention is a refusal."""
    intents = workspace.catalog.intents.items()
    return {name: intent.description for name, intent in intents if routing.choice(name) != ABSTAIN_DENY}


def make_comparison(workspace: Workspace, services: Services, observer: PolicyObserver, plan: Any = None) -> Comparison | None:
    """None unless it is switched on. Raises ConfigError."""
    config, engine = workspace.config.policy.compare, make_second_engine(workspace, services.clock, plan)
    if config is None or engine is None:
        return None
    record = Differences(services.outcomes or services.ledger, services.clock).record
    return Comparison(engine, config, services.random, services.clock, record, observer)


def _keeping(wanted: Idempotency) -> KeptAnswers:
    return KeptAnswers(wanted.required, math.ceil(wanted.keep), wanted.answer, wanted.on_failure == "allow")


def _decide_keeping(config: DecideConfig | None) -> KeptAnswers | None:
    """A decision is bounded by what is read of a request, so that none is too long."""
    wanted = config.idempotency if config is not None else None
    return KeptAnswers(wanted.required, math.ceil(wanted.keep), 0, wanted.on_failure == "allow") if wanted is not None else None


def door_options(workspace: Workspace) -> DoorOptions:
    gateway, decide, catalog = workspace.config.gateway, workspace.config.decide, workspace.catalog
    limits = gateway.limits
    return DoorOptions(
        trusted=tuple(ip_network(network) for network in gateway.trusted_proxies),
        limits=BodyLimits(limits.body, limits.view, limits.text_chars, limits.body_timeout),
        visible=frozenset(name.encode() for name in workspace.visible_headers),
        text_paths=tuple(json_path(path) for path in gateway.text),
        sample=workspace.config.telemetry.sample,
        streams=frozenset(name for name, route in catalog.routes.items() if route.stream),
        websockets=frozenset(name for name, route in catalog.routes.items() if route.websocket),
        keeping={name: _keeping(route.idempotency) for name, route in catalog.routes.items() if route.idempotency is not None},
        deduplicating=frozenset(name for name, route in catalog.routes.items() if route.deduplicates),
        addresses=address_list(gateway.allow, gateway.deny),
        steps=_steps(gateway.steps),
        conversation=_conversation(gateway.conversation),
        held=HeldOptions(workspace.config.review.wait, workspace.config.review.keep, _resuming(workspace)),
        decide_addresses=address_list(decide.allow, decide.deny) if decide is not None else None,
        decide_keeping=_decide_keeping(decide),
    )


def _conversation(settings: ConversationConfig | None) -> ConversationOptions | None:
    if settings is None:
        return None
    return ConversationOptions(settings.header, json_path(settings.id), settings.turns, settings.chars, math.ceil(settings.keep))


def _steps(settings: StepsConfig | None) -> StepOptions | None:
    return None if settings is None else StepOptions(settings.run == "first_success", settings.together, settings.answer)


def make_cors(workspace: Workspace, stages: Stages) -> Cors | None:
    """None where no page may call."""
    routes = {name: _cors(route.cors) for name, route in workspace.catalog.routes.items() if route.cors is not None}
    listener = workspace.config.gateway.cors
    if listener is None and not routes:
        return None

    def look(method: str, path: str) -> str | None:
        match = stages.rules.look(method, path, (), NO_BODY).match
        return None if match is None else match.route or (stages.routing.intents[match.intent].route if match.intent is not None else None)

    return Cors(_cors(listener) if listener is not None else None, routes, look)


def _cors(settings: CorsSettings) -> CorsPolicy:
    return make_cors_policy(settings.origins, settings.methods, settings.headers, settings.expose, settings.credentials, settings.max_age)
