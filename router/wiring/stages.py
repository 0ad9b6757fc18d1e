"""The pipeline's stages from a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import BaseModel

from embeddings.costs import Costs as WrongAndAbstain
from embeddings.kept import inputs_digest
from embeddings.model import IntentModel
from embeddings.passages import passages
from router.catalog import Canary as CanarySettings
from router.catalog import Catalog, Intent
from router.catalog import Rule as RuleEntry
from router.config import Config, OnAbstain
from router.config.costs import Costs
from router.config.judgement import PresidioSettings
from router.errors import ConfigError
from router.pipeline import Choice, Comparing, Stages
from router.ports import Arbiter, Clock, PolicyEngine, Quotas, Recogniser, Tier
from router.registry import ADAPTERS
from router.settings import ANY_LANGUAGE
from router.stages.alternatives import NO_CHOICE
from router.stages.canary import Canary
from router.stages.classification import Cascade, Thresholds, normalise
from router.stages.demands import Demands
from router.stages.intent_limits import NO_INTENT_LIMITS, IntentLimits
from router.stages.language import LanguageDetector
from router.stages.negation import negated_verbs
from router.stages.risk import RiskModel
from router.stages.risk import Thresholds as Levels
from router.stages.routing import IntentEntry, RouteEntry, RoutingTable
from router.stages.rule import Rule, json_path
from router.stages.rules import RuleIndex
from router.stages.signals import SignalDetector
from router.stages.tuned import Tuned
from router.stages.usual import Usual
from router.wiring.languages import language_identifier
from router.workspace import Workspace, stated_aim

UNHURRIED_S = 60.0  # where nobody waits: a slow machine says nothing about a classifier
NEVER = 2.0  # a threshold that no probability reaches: the route then always abstains


def make_stages(
    workspace: Workspace,
    tiers: Sequence[Tier],
    model: IntentModel | None,
    policy: PolicyEngine,
    clock: Clock,
    usual: Usual,
    arbiter: Arbiter | None = None,
    comparison: Comparing | None = None,
    quotas: Quotas | None = None,
    limits: IntentLimits = NO_INTENT_LIMITS,
    alternatives: Choice = NO_CHOICE,
) -> Stages:
    config, catalog = workspace.config, workspace.catalog
    if model is not None and workspace.tuned is not None:
        refuse_other_training(workspace.tuned, model.examples_digest, model.encoder_digest)
    language = LanguageDetector(expected_languages(workspace, model), language_identifier(workspace))
    return Stages(
        rules=rule_index(catalog.rules),
        signals=SignalDetector(config.gateway.limits.view, language, recogniser(workspace)),
        cascade=make_cascade(workspace, tiers, model, clock, arbiter),
        usual=usual,
        risk=RiskModel(Levels(**catalog.risk.levels.model_dump()), catalog.risk.weights),
        routing=routing_table(catalog, config),
        catalog_digest=workspace.digests.catalog,
        demands=Demands(quotas, frozenset(catalog.destinations)),
        limits=limits,
        alternatives=alternatives,
        **policy_parts(workspace, policy, comparison),
    )


def policy_parts(workspace: Workspace, policy: PolicyEngine, comparison: Comparing | None) -> dict[str, Any]:
    """What of the stages belongs to the policies, the digest of the configuration with them among it."""
    return {
        "policy": policy,
        "policy_deadline_s": workspace.config.policy.deadline if getattr(policy, "waits", True) else None,
        "config_digest": workspace.digests.config,
        "comparison": comparison,
    }


def rule_index(rules: Sequence[RuleEntry]) -> RuleIndex:
    return RuleIndex([_rule(entry) for entry in rules])


def _rule(entry: RuleEntry) -> Rule:
    match = entry.match
    return Rule(
        name=entry.name,
        intent=entry.intent,
        route=entry.route,
        methods=frozenset(match.method),
        path=match.path,
        headers=tuple(match.header.items()),
        json=tuple((json_path(path), value) for path, value in match.values.items()),
        regex=match.regex,
    )


def routing_table(catalog: Catalog, config: Config) -> RoutingTable:
    routes = {name: RouteEntry(name, route.destination, route.path, route.method) for name, route in catalog.routes.items()}
    intents = {name: _intent(name, intent, catalog) for name, intent in catalog.intents.items()}
    canaries = {name: _canary(route.canary) for name, route in catalog.routes.items() if route.canary is not None}
    return RoutingTable(routes, intents, _abstain(config.gateway.on_abstain) or "clarify", canaries)


def _canary(settings: CanarySettings) -> Canary:
    return Canary(settings.destination, settings.share, settings.by, settings.header, frozenset(settings.testers))


def _intent(name: str, intent: Intent, catalog: Catalog) -> IntentEntry:
    on_abstain = _abstain(intent.on_abstain) or _abstain(catalog.routes[intent.route].on_abstain)
    return IntentEntry(name, intent.route, intent.risk.value, intent.owner, intent.tags, on_abstain)


def _abstain(wanted: OnAbstain | None) -> str | None:
    return None if wanted is None else wanted.route or wanted.action


def refuse_other_training(tuned: Tuned, examples_digest: str, encoder_digest: str) -> None:
    """Raises ConfigError where the thresholds were found for another encoder or another way of training."""
    if tuned.training != inputs_digest(examples_digest, encoder_digest):
        raise ConfigError("The thresholds are for another encoder or version of Lockgate; run `lockgate tune` and review what it changes.")


def recogniser(workspace: Workspace) -> Recogniser | None:
    """The configured one beside the built-in. Raises ConfigError, which names what to install."""
    settings, named = workspace.recogniser, workspace.config.signals.recogniser
    if named is None or not isinstance(settings, PresidioSettings):
        return None
    found: Recogniser = ADAPTERS.load("recogniser", named.adapter).PresidioRecogniser(
        min_score=settings.min_score, most_chars=settings.chars
    )
    return found


def known_languages(settings: BaseModel, model: IntentModel | None) -> frozenset[str] | None:
    """None for any: the configuration says so, or there is no encoder that could not know one."""
    told = getattr(settings, "languages", None)
    if told is not None:
        return None if ANY_LANGUAGE in told else frozenset(told)
    return model.encoder.languages if model is not None else None


def expected_languages(workspace: Workspace, model: IntentModel | None) -> frozenset[str]:
    """Without a word about languages, requests are in English or anything else."""
    languages = known_languages(workspace.encoder, model)
    return languages if languages is not None else frozenset({"en"})


def make_cascade(
    workspace: Workspace,
    tiers: Sequence[Tier],
    model: IntentModel | None,
    clock: Clock,
    arbiter: Arbiter | None = None,
    *,
    deadline_s: float | None = None,
) -> Cascade:
    """`deadline_s` instead of the configuration's: where nobody waits."""
    classifier = workspace.config.classifier
    aim = classifier.costs if classifier.costs is not None else classifier.max_error
    confidence = _confidence(aim, classifier.min_confidence, model)
    default = Thresholds(confidence, classifier.min_margin, classifier.min_scope, max_error=_most_errors(aim))
    return Cascade(
        tiers,
        default,
        by_intent_thresholds(workspace, default, model, workspace.tuned),
        catalog_digest=workspace.digests.catalog,
        deadline_s=classifier.deadline if deadline_s is None else deadline_s,
        cache_size=classifier.cache,
        clock=clock,
        languages=known_languages(workspace.encoder, model),
        arbiter=arbiter,
        in_passages=lambda text: bool(passages(text)),
    )


def by_intent_thresholds(
    workspace: Workspace, default: Thresholds, model: IntentModel | None, tuned: Tuned | None = None
) -> dict[str, Thresholds]:
    """What was tuned and reviewed takes the place of what the model would find by itself."""

    @cache
    def learnt(aim: float | Costs) -> float:
        return _confidence(aim, None, model)

    found = {name: _thresholds(workspace.config, intent, default, learnt) for name, intent in workspace.catalog.intents.items()}
    reviewed = tuned.confidences if tuned is not None else {}
    for name, confidence in reviewed.items():
        found[name] = replace(found[name], confidence=NEVER if confidence is None else confidence)
    return found


def _thresholds(config: Config, intent: Intent, default: Thresholds, learnt: Callable[[float | Costs], float]) -> Thresholds:
    aim, confidence = stated_aim(config, intent), default.confidence
    if aim is not None:
        confidence = learnt(aim)
    elif intent.min_confidence is not None:
        confidence = intent.min_confidence
    margin = intent.min_margin if intent.min_margin is not None else default.margin
    negated = negated_verbs(normalise(text) for text in intent.examples)
    return Thresholds(confidence, margin, default.scope, negated, _most_errors(aim))


def _most_errors(aim: float | Costs | None) -> float | None:
    """With costs it is the share of errors at which accepting costs as much as abstaining."""
    return costs_of(aim).break_even if isinstance(aim, Costs) else aim


def costs_of(stated: Costs) -> WrongAndAbstain:
    return WrongAndAbstain(stated.wrong, stated.abstain)


def _confidence(aim: float | Costs | None, floor: float | None, model: IntentModel | None) -> float:
    """The threshold from calibration data for a stated risk or costs, else the floor; unreachable where nothing can be proved."""
    if aim is None:
        if floor is None:
            raise ConfigError("A threshold needs 'min_confidence', 'max_error' or 'costs'.")
        return floor
    if model is None:
        return NEVER
    learnt = model.threshold_by(costs_of(aim)) if isinstance(aim, Costs) else model.threshold_for(aim)
    return NEVER if learnt is None else learnt
