from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.digests import digest_of
from embeddings.head import LinearHead
from embeddings.index import ExampleIndex
from embeddings.numeric import Floats, Labels
from embeddings.scope import ScopeGate
from embeddings.token_rows import TokenRows

SCHEMA = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """`confidences` and `correct` (n,): held-out examples' calibrated top confidences and whether the top was right;
    `rows` (n,) which examples these are, or texts where some were set apart; `right` (n,): the calibrated probabilities that their right
    intents had.

    `in_scope` (m,): the gate's probabilities for held-out examples, `places` (m,) where these stand in `confidences`.
    `outside` (k,) and `outside_confidences` (k,): the same of texts about no intent, where these were `given`, else of intents that a head
    had not been told of. `mixed` (j,) and `mixed_confidences` (j,): the same of sums of two held-out examples with different intents.
    `scope_point`: the gate's probability that tells inside and outside apart best, each weighing the same.
    """

    temperature: float
    gate: ScopeGate
    confidences: Floats
    correct: NDArray[np.bool_]
    rows: Labels
    right: Floats
    in_scope: Floats
    places: Labels
    outside: Floats
    outside_confidences: Floats
    mixed: Floats
    mixed_confidences: Floats
    scope_point: float
    given: bool


@dataclass(frozen=True)
class Artefact:
    """What training made, without the encoder it was made for. `words`: the examples' words, with how often these occur. `rows`: what was
    learnt of single tokens, where the encoder has a table of these.

    `report`: figures on held-out examples, for people; no prediction depends on them.
    """

    head: LinearHead
    index: ExampleIndex
    calibration: Calibration
    encoder_digest: str
    examples_digest: str
    words: dict[str, int]
    report: dict[str, float]
    rows: TokenRows | None = None

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over everything here."""
        return digest_of(self.description())

    @cached_property
    def calibration_digest(self) -> str:
        return digest_of({**self._calibration_settings(), **self._digests("held_out.")})

    def without_examples(self) -> Artefact:
        """The same model, digest included, without the vectors of its examples: for one that asks for them elsewhere. Not to be saved."""
        none = ExampleIndex(self.index.vectors[:0].copy(), np.zeros_like(self.index.offsets))
        lean = replace(self, index=none)
        vars(lean)["digest"] = self.digest  # in the place of the one that would be computed
        return lean

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "head.weights": self.head.weights,
            "head.bias": self.head.bias,
            "index.vectors": self.index.vectors,
            "index.offsets": self.index.offsets.astype(np.int64),
            "held_out.confidences": self.calibration.confidences,
            "held_out.correct": self.calibration.correct,
            "held_out.rows": self.calibration.rows.astype(np.int64),
            "held_out.right": self.calibration.right,
            "held_out.in_scope": self.calibration.in_scope,
            "held_out.places": self.calibration.places.astype(np.int64),
            "held_out.outside": self.calibration.outside,
            "held_out.outside_confidences": self.calibration.outside_confidences,
            "held_out.mixed": self.calibration.mixed,
            "held_out.mixed_confidences": self.calibration.mixed_confidences,
            **({} if self.rows is None else {"tokens.ids": self.rows.tokens, "tokens.vectors": self.rows.vectors}),
        }

    def description(self) -> dict[str, Any]:
        """The JSON beside the arrays, their digests included."""
        return {
            "schema": SCHEMA,
            "encoder_digest": self.encoder_digest,
            "examples_digest": self.examples_digest,
            "words": self.words,
            "intents": list(self.head.intents),
            "calibration": self._calibration_settings(),
            "report": self.report,
            "arrays": self._digests(""),
        }

    def _calibration_settings(self) -> dict[str, Any]:
        gate = self.calibration.gate
        return {
            "temperature": self.calibration.temperature,
            "gate": {"coefficients": list(gate.coefficients), "intercept": gate.intercept},
            "scope_point": self.calibration.scope_point,
            "outside_given": self.calibration.given,
        }

    def _digests(self, prefix: str) -> dict[str, str]:
        return {name: _array_digest(array) for name, array in self.arrays().items() if name.startswith(prefix)}


def _array_digest(array: NDArray[Any]) -> str:
    shape = f"{array.dtype.str}{array.shape}".encode()
    return "sha256:" + hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()
