"""Thresholds for the risks that a workspace states, from texts that nothing was learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embeddings.errors import EmbeddingsError
from embeddings.examples import training_set
from embeddings.kept import inputs_digest
from embeddings.labelled import Labelled
from embeddings.model import IntentModel
from embeddings.ports import Progress
from embeddings.proving import Accepted, crossed, find, find_by
from router.config.costs import Costs
from router.errors import ConfigError
from router.ports import Tier
from router.stages.classification import Thresholds, normalise
from router.stages.courtesy import without_courtesies
from router.stages.negation import negations
from router.stages.tuned import Entry, EntryCosts, Tuned
from router.wiring.encoder import load_encoder
from router.wiring.kept_model import examples_of
from router.wiring.stages import by_intent_thresholds, costs_of, refuse_other_training
from router.workspace import Workspace, stated_aim, tuned_settings

CROSSED = "cross-validation of the catalog's examples"


@dataclass(frozen=True, slots=True)
class Answered:
    """A held-out text, its intent, and what each tier would answer if confidence were no matter: (intent, confidence)."""

    text: str
    intent: str | None
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Intents that share a threshold. `route` is None for those of all routes."""

    route: str | None
    aim: float | Costs
    intents: tuple[str, ...]


def groups(workspace: Workspace, by_route: bool) -> list[Group]:
    found: dict[tuple[str, float | Costs], list[str]] = {}
    for name, intent in sorted(workspace.catalog.intents.items()):
        aim = stated_aim(workspace.config, intent)
        if aim is not None:
            found.setdefault((intent.route if by_route else "", aim), []).append(name)
    return sorted((Group(route or None, aim, tuple(names)) for (route, aim), names in found.items()), key=_order)


def _order(group: Group) -> tuple[str, float, float]:
    """By route, stated risks before costs."""
    if isinstance(group.aim, Costs):
        return group.route or "", group.aim.wrong, group.aim.abstain
    return group.route or "", group.aim, 0.0


def held_out(workspace: Workspace, labelled: Labelled) -> Labelled:
    """The texts of a file as they count: each different one once, and none that the catalog learns from. Raises ConfigError for an intent
    that the catalog does not have."""
    catalog = workspace.catalog
    seen = {normalise(text) for intent in catalog.intents.values() for text in intent.examples}
    seen |= {normalise(text) for text in catalog.out_of_scope.examples}
    kept: list[tuple[str, str | None]] = []
    for text, intent in zip(labelled.texts, labelled.intents, strict=True):
        if intent is not None and intent not in catalog.intents:
            raise ConfigError(f"The intent '{intent}' of the data is not in the catalog; write 'oos' for a text that is about none of its.")
        if (normal := normalise(text)) and normal not in seen:
            seen.add(normal)
            kept.append((normal, intent))
    return Labelled(tuple(text for text, _ in kept), tuple(intent for _, intent in kept))


async def answered(workspace: Workspace, tiers: Sequence[Tier], texts: Labelled, progress: Progress) -> list[Answered]:
    """Each tier is asked for itself: which of them answers hangs on the threshold that is looked for."""
    classifier = workspace.config.classifier
    default = Thresholds(0.0, classifier.min_margin, classifier.min_scope)
    by_intent = by_intent_thresholds(workspace, default, None)
    gates = {name: replace(thresholds, confidence=0.0) for name, thresholds in by_intent.items()}
    found: list[Answered] = []
    for text, intent in zip(texts.texts, texts.intents, strict=True):
        answers: list[tuple[str, float]] = []
        for tier in tiers:
            scored = await tier.classify(without_courtesies(text))
            gate = gates.get(scored.intent or "", default)
            judged = gate.judge(scored)
            if judged.intent is not None and judged.confidence is not None and gate.negated.issuperset(negations(text)):
                answers.append((judged.intent, judged.confidence))
        found.append(Answered(text, intent, tuple(answers)))
        progress("classify", len(found), len(texts))
    return found


def accepted(texts: Sequence[Answered], intents: Sequence[str]) -> Accepted:
    """Where several tiers would answer with one of these intents, a text is as confident as the surest of them and wrong if any is. Where
    another tier would answer with an intent that has another threshold, it counts only if it is wrong: whichever tier these thresholds
    make answer, no greater share is wrong than is counted."""
    wanted = set(intents)
    rows: list[tuple[float, bool, bool]] = []
    for each in texts:
        answers = [answer for answer in each.answers if answer[0] in wanted]
        right = all(intent == each.intent for intent, _ in answers)
        if answers and not (right and len(answers) < len(each.answers)):
            rows.append((max(confidence for _, confidence in answers), right, each.intent in wanted))
    return Accepted(
        np.array([confidence for confidence, _, _ in rows], dtype=np.float64),
        np.array([right for _, right, _ in rows], dtype=bool),
        np.array([about for _, _, about in rows], dtype=bool),
        sum(each.intent in wanted for each in texts),
    )


def tuned(workspace: Workspace, model: IntentModel, texts: Sequence[Answered] | None, data: str) -> Tuned:
    """From `texts` route by route; where there are none, from the training's own cross-validation, all routes together. Raises ConfigError
    where neither a risk nor costs are stated."""
    wanted = groups(workspace, by_route=texts is not None)
    if not wanted:
        raise ConfigError(
            "Neither the configuration nor any intent states a risk ('max_error') or 'costs', so there is no threshold to find."
        )
    everything = crossed(model.artefact.calibration, workspace.config.classifier.min_scope)
    entries = [_entry(group, everything if texts is None else accepted(texts, group.intents)) for group in wanted]
    training = inputs_digest(model.examples_digest, model.encoder_digest)
    return Tuned(workspace.digests.catalog, training, tuned_settings(workspace.config), data, tuple(entries))


def check_encoder(workspace: Workspace) -> None:
    """Raises ConfigError where the reviewed thresholds are not for what would be trained."""
    if workspace.tuned is None:
        return
    try:
        data = training_set(*examples_of(workspace))
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    refuse_other_training(workspace.tuned, data.digest, load_encoder(workspace).digest)


def _entry(group: Group, texts: Accepted) -> Entry:
    aim = group.aim
    if isinstance(aim, Costs):
        found, max_error = find_by(texts, costs_of(aim)), None
        costs = EntryCosts(aim.wrong, aim.abstain, found.cost, found.cost_at_most)
    else:
        found, max_error, costs = find(texts, aim), aim, None
    return Entry(
        group.route,
        group.intents,
        max_error,
        found.confidence,
        round(found.coverage, 4),
        found.held_out,
        found.accepted,
        found.wrong,
        found.error_at_most,
        found.more_needed,
        costs,
    )
