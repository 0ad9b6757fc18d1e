"""What training found out about the examples themselves, from answers to examples by heads that had not seen them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.binned import expected_calibration_error
from embeddings.curves import at_risk, interval, reliability, risk_coverage
from embeddings.numeric import Floats, Labels, softmax
from embeddings.ports import Matrix
from embeddings.report import SMALL, Alike, Confusion, IntentFigures, Overlap, Report, Suspect
from embeddings.resemblance import Nearest, crossings, nearest_rivals
from embeddings.suggestions import suggestions

RISKS = (0.005, 0.01, 0.02, 0.05)
SHOWN_TEXTS = 5
# Of examples of two intents that are taken for the other one or lie nearest to it: from here on the intents are said to overlap.
OVERLAP = 0.15
LEAST_OVERLAP = 3
# Cosine from which on two examples of different intents say the same.
ALIKE = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """Examples `texts` with `labels` (n,) and `vectors` (n, d); `rows` (m,) are those that were held out, `logits` (m, intents) what heads
    that had not seen them said, and `temperature` what makes these probabilities."""

    intents: tuple[str, ...]
    texts: tuple[str, ...]
    labels: Labels
    vectors: Matrix
    rows: Labels
    logits: Floats
    temperature: float


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of the held-out examples, by place: the true intent, the one answered, and every intent's probability."""

    truth: Labels
    answer: Labels
    probabilities: Floats

    @property
    def confidences(self) -> Floats:
        highest: Floats = self.probabilities.max(axis=1)
        return highest

    @property
    def correct(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = self.truth == self.answer
        return right


def make_report(model: str, judged: Judged) -> Report:
    """The same for the same answers. `model`: the digest of the model that they belong to."""
    probabilities = softmax(judged.logits / judged.temperature)
    answers = _Answers(judged.labels[judged.rows], probabilities.argmax(axis=1), probabilities)
    nearest = nearest_rivals(judged.vectors, judged.labels, judged.rows, judged.logits)
    confidences, correct = answers.confidences, answers.correct
    figures = _figures(judged, answers)
    coverage = tuple(at_risk(confidences, correct, risk) for risk in RISKS)
    suspects, alike, overlaps = _suspects(judged, answers, nearest), _alike(judged, nearest), _overlaps(judged, answers, nearest)
    return Report(
        model=model,
        examples=len(judged.texts),
        held_out=len(judged.rows),
        accuracy=float(correct.mean()),
        calibration_error=expected_calibration_error(confidences, correct),
        intents=figures,
        confusions=_confusions(judged, answers),
        reliability=reliability(confidences, correct),
        risk_coverage=risk_coverage(confidences, correct),
        coverage=coverage,
        mislabelled=suspects,
        alike=alike,
        overlaps=overlaps,
        suggestions=suggestions(figures, coverage, len(judged.rows), suspects, alike, overlaps),
    )


def _figures(judged: Judged, answers: _Answers) -> tuple[IntentFigures, ...]:
    classes = len(judged.intents)
    examples, held_out, answered, hits = (
        np.bincount(each, minlength=classes).tolist()
        for each in (judged.labels, answers.truth, answers.answer, answers.truth[answers.correct])
    )
    found = []
    for place, intent in enumerate(judged.intents):
        right, tried, given = hits[place], held_out[place], answered[place]
        least, most = interval(right, tried)
        found.append(
            IntentFigures(
                intent=intent,
                examples=examples[place],
                held_out=tried,
                precision=right / given if given else None,
                recall=right / tried if tried else None,
                f1=2 * right / (given + tried) if given + tried else None,
                recall_least=least,
                recall_most=most,
                small=tried < SMALL,
            )
        )
    return tuple(sorted(found, key=lambda each: (1.0 if each.f1 is None else each.f1, each.intent)))


def _confusions(judged: Judged, answers: _Answers) -> tuple[Confusion, ...]:
    wrong = np.flatnonzero(~answers.correct)
    wrong = wrong[np.argsort(-answers.confidences[wrong], kind="stable")]
    by_pair: dict[tuple[int, int], list[int]] = {}
    for place in wrong.tolist():
        by_pair.setdefault((int(answers.truth[place]), int(answers.answer[place])), []).append(place)
    ranked = sorted(by_pair.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Confusion(
            judged.intents[truth],
            judged.intents[answer],
            len(places),
            tuple(judged.texts[judged.rows[place]] for place in places[:SHOWN_TEXTS]),
        )
        for (truth, answer), places in ranked
    )


def _suspects(judged: Judged, answers: _Answers, nearest: Nearest) -> tuple[Suspect, ...]:
    """Confident learning (Northcutt et al. 2021): an example is suspect where the other intent's probability reaches what that intent's own
    examples have on average, and its most similar example is of the other intent too."""
    classes, places = len(judged.intents), np.arange(len(answers.truth))
    own = answers.probabilities[places, answers.truth]
    counts = np.bincount(answers.truth, minlength=classes)
    usual = np.where(counts > 0, np.bincount(answers.truth, weights=own, minlength=classes) / np.maximum(counts, 1), np.inf)
    suspicious = ~answers.correct & (answers.confidences >= usual[answers.answer])
    suspicious &= (nearest.rival == answers.answer) & (nearest.rival_similarity > nearest.own_similarity)
    ranked = np.flatnonzero(suspicious)
    ranked = ranked[np.argsort(own[ranked] - answers.confidences[ranked], kind="stable")]
    return tuple(
        Suspect(
            text=judged.texts[judged.rows[place]],
            intent=judged.intents[answers.truth[place]],
            looks_like=judged.intents[answers.answer[place]],
            confidence=float(answers.confidences[place]),
            own=float(own[place]),
            nearest=judged.texts[nearest.rival_row[place]],
            similarity=float(nearest.rival_similarity[place]),
        )
        for place in ranked.tolist()
    )


def _alike(judged: Judged, nearest: Nearest) -> tuple[Alike, ...]:
    pairs: dict[tuple[int, int], float] = {}
    for place in np.flatnonzero(nearest.rival_similarity >= ALIKE).tolist():
        one, other = sorted((int(judged.rows[place]), int(nearest.rival_row[place])))
        pairs[one, other] = float(nearest.rival_similarity[place])
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    name = [judged.intents[label] for label in judged.labels.tolist()]
    return tuple(Alike(judged.texts[one], name[one], judged.texts[other], name[other], cosine) for (one, other), cosine in ranked)


def _overlaps(judged: Judged, answers: _Answers, nearest: Nearest) -> tuple[Overlap, ...]:
    confused: Counter[tuple[int, int]] = Counter()
    crossed: Counter[tuple[int, int]] = Counter()
    either: Counter[tuple[int, int]] = Counter()
    crossing = crossings(nearest)
    counts = np.bincount(answers.truth, minlength=len(judged.intents)).tolist()
    for place, (truth, answer) in enumerate(zip(answers.truth.tolist(), answers.answer.tolist(), strict=True)):
        taken = {_pair(truth, answer)} if truth != answer else set()
        near = {_pair(truth, int(nearest.rival[place]))} if crossing[place] else set()
        confused.update(taken)
        crossed.update(near)
        either.update(taken | near)
    found = [
        Overlap(
            judged.intents[first], judged.intents[second], confused[first, second], crossed[first, second], counts[first] + counts[second]
        )
        for (first, second), count in either.items()
        if count >= max(LEAST_OVERLAP, OVERLAP * (counts[first] + counts[second]))
    ]
    return tuple(sorted(found, key=lambda each: (-(each.confused + each.crossed) / each.of, each.first, each.second)))


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
