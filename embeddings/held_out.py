"""What a cascade leaves open of texts that it did not learn from, for whoever is to be measured on these."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from embeddings.cascade import Cascade, make_cascade
from embeddings.evaluation import LeftOpen, Trial, left_open
from embeddings.folds import FOLDS, stratified_folds
from embeddings.labelled import Labelled
from embeddings.numeric import Labels
from embeddings.ports import Progress


def held_out(trial: Trial, progress: Progress) -> Iterator[list[LeftOpen]]:
    """Of the calibration texts, but for those that are also learnt from and those about other intents. Where there are none: of a fifth of
    the training texts after the other, by a cascade that is trained from the other four fifths; each costs another training, so take no
    more of them than are needed. The operating point is the trial's."""
    if trial.splits.calibrate is not None:
        yield _left_open(trial, trial.cascade, _unlearnt(trial, trial.splits.calibrate))
        return
    train = trial.splits.train
    folds = _folds(train)
    for fold in range(FOLDS):
        rest, apart = _part(train, folds != fold), _part(train, folds == fold)
        cascade, _ = make_cascade(trial.recipe, rest, None, partial(_told, progress, fold))
        yield _left_open(trial, cascade, apart)


def _left_open(trial: Trial, cascade: Cascade, texts: Labelled) -> list[LeftOpen]:
    found: list[LeftOpen] = []
    for place, (text, intent) in enumerate(zip(texts.texts, texts.intents, strict=True)):
        tier, said = cascade.predict(text)
        found += left_open(cascade, trial.point, LeftOpen(place, text, intent, said), tier)
    return found


def _unlearnt(trial: Trial, texts: Labelled) -> Labelled:
    learnt = {text.casefold() for text in trial.splits.train.texts}
    known = {None, *trial.cascade.encoder.intents}
    pairs = zip(texts.texts, texts.intents, strict=True)
    return _part(texts, np.array([text.casefold() not in learnt and intent in known for text, intent in pairs], dtype=bool))


def _folds(train: Labelled) -> Labels:
    """The fold of each text (n,), -1 for never held out. What is about none counts as one more intent."""
    rows: dict[str | None, int] = {intent: row for row, intent in enumerate(train.by_intent)}
    return stratified_folds(train.texts, np.array([rows.get(intent, len(rows)) for intent in train.intents], dtype=np.intp))


def _part(texts: Labelled, wanted: Labels) -> Labelled:
    kept = np.flatnonzero(wanted).tolist()
    return Labelled(tuple(texts.texts[row] for row in kept), tuple(texts.intents[row] for row in kept))


def _told(progress: Progress, fold: int, step: str, done: int, total: int) -> None:
    progress(f"fold {fold + 1} of {FOLDS}: {step}", done, total)
