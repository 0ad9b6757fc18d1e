"""Teaches a table of token vectors what the examples are about, before a head is fitted to their sums.

A distilled vector says what a token means; which tokens tell these intents apart, and how much each weighs, only the examples know. Every
part of the cross-validation gets a table of its own, which has not seen what it is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embeddings.folds import FOLDS
from embeddings.material import Encoded, Lesson, Texts
from embeddings.numeric import Labels
from embeddings.parallel import in_order
from embeddings.ports import Encoder, Matrix, Progress
from embeddings.scope_training import lesson_rows
from embeddings.static_encoder import StaticEncoder
from embeddings.token_rows import TokenRows

Tokens = NDArray[np.intp]

EPOCHS = (10, 40)
STEPS = 500  # that few examples get, by more epochs
BATCH = 64
RATE, HEAD_RATE = 1e-3, 1e-2  # of Adam, for rows of a mean length of one; both fall to a fiftieth
LEAST_RATE = 0.02
DROPPED = 0.4  # of the tokens, each time anew: no single one may carry a text
SCALE = 20.0  # of the cosines between a text and the classes
TINY = 1e-6


class TaughtTable:
    """An Embedding: the encoder's table, taught by each lesson."""

    folds = FOLDS

    def __init__(self, encoder: StaticEncoder) -> None:
        self._encoder = encoder.taught(None)

    def encode(self, texts: Texts, lessons: Sequence[Lesson], progress: Progress) -> tuple[Encoder, list[Encoded]]:
        tokens = [self._encoder.tokens(text) for text in (*texts.texts, *texts.background)]
        found = in_order(partial(self._by_lesson, texts, tokens), lessons, partial(progress, "teach"))
        return found[0][0], [encoded for _, encoded in found]

    def _by_lesson(self, texts: Texts, tokens: Sequence[Tokens], lesson: Lesson) -> tuple[StaticEncoder, Encoded]:
        rows, labels = lesson_rows(texts, lesson)
        encoder = self._encoder.taught(learn(self._encoder, [tokens[row] for row in rows.tolist()], labels))
        vectors = np.stack([encoder.sum_of(each) for each in tokens])
        return encoder, Encoded(vectors[: len(texts.texts)], vectors[len(texts.texts) :])


def learn(encoder: StaticEncoder, texts: Sequence[Tokens], labels: Labels) -> TokenRows:
    """Rows for the tokens of these texts; labels (n,) from 0 on. Deterministic: batches and dropped tokens come from a fixed seed."""
    used = np.unique(np.concatenate(texts))
    rows = encoder.rows(used)
    unit = float(np.linalg.norm(rows, axis=1).mean()) or 1.0
    places = [np.searchsorted(used, each) for each in texts]
    learnt = _descend(rows / np.float32(unit), places, labels) * np.float32(unit)
    return TokenRows(used.astype(np.int32), learnt.astype(np.float16))


def _descend(table: Matrix, texts: Sequence[Tokens], labels: Labels) -> Matrix:
    """Cross-entropy over cosines between sums of rows and one direction a class, which starts as the mean of its texts."""
    random = np.random.default_rng(0)
    count = len(texts)
    epochs = min(max(-(-STEPS * BATCH // count), EPOCHS[0]), EPOCHS[1])
    total, step = epochs * -(-count // BATCH), 0
    classes = _means(table, texts, labels)
    of_rows, of_classes = _Adam(table), _Adam(classes)
    for _ in range(epochs):
        order = random.permutation(count)
        for start in range(0, count, BATCH):
            batch = order[start : start + BATCH]
            used, counts = _kept([texts[row] for row in batch], random)
            by_sums, by_classes = _gradients(counts @ table[used], classes, labels[batch])
            share = max(LEAST_RATE, 1.0 - step / total)
            of_rows.move(used, counts.T @ by_sums, RATE * share)
            of_classes.move(np.arange(len(classes)), by_classes, HEAD_RATE * share)
            step += 1
    return table


def _means(table: Matrix, texts: Sequence[Tokens], labels: Labels) -> Matrix:
    means = np.zeros((int(labels.max()) + 1, table.shape[1]), dtype=np.float32)
    for text, label in zip(texts, labels.tolist(), strict=True):
        means[label] += _unit(table[text].sum(axis=0, keepdims=True))[0][0]
    return means


def _kept(texts: Sequence[Tokens], random: np.random.Generator) -> tuple[Tokens, Matrix]:
    """Which tokens stay, and how often each text (a row) has each of them; a text that would lose all keeps all."""
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    flat = np.concatenate(texts)
    stays = random.random(len(flat)) >= DROPPED
    stays |= ~np.isin(rows, rows[stays])
    used, columns = np.unique(flat[stays], return_inverse=True)
    counts = np.zeros((len(texts), len(used)), dtype=np.float32)
    np.add.at(counts, (rows[stays], columns), 1.0)
    return used, counts


def _gradients(sums: Matrix, classes: Matrix, labels: Labels) -> tuple[Matrix, Matrix]:
    """Of the mean loss, by the sums (b, d) and by the classes (c, d)."""
    texts, lengths = _unit(sums)
    directions, of_classes = _unit(classes)
    scores = np.float32(SCALE) * texts @ directions.T
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1.0
    shares *= np.float32(SCALE / len(labels))
    return _through_unit(shares @ directions, texts, lengths), _through_unit(shares.T @ texts, directions, of_classes)


def _unit(rows: Matrix) -> tuple[Matrix, Matrix]:
    """The rows' directions, and their lengths (n, 1)."""
    lengths: Matrix = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
    return rows / lengths, lengths


def _through_unit(gradient: Matrix, directions: Matrix, lengths: Matrix) -> Matrix:
    along = (gradient * directions).sum(axis=1, keepdims=True)
    back: Matrix = (gradient - directions * along) / lengths
    return back


class _Adam:
    """Kingma and Ba 2015, of the rows that a step touches only; moves `values` in place."""

    def __init__(self, values: Matrix) -> None:
        self._values = values
        self._mean = np.zeros_like(values)
        self._square = np.zeros_like(values)
        self._steps = 0

    def move(self, rows: Tokens, gradient: Matrix, rate: float) -> None:
        self._steps += 1
        mean = 0.9 * self._mean[rows] + 0.1 * gradient
        square = 0.999 * self._square[rows] + 0.001 * gradient**2
        self._mean[rows], self._square[rows] = mean, square
        unbiased = np.sqrt(square / (1.0 - 0.999**self._steps)) + 1e-8
        self._values[rows] -= rate / (1.0 - 0.9**self._steps) * mean / unbiased
