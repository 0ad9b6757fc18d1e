from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from time import perf_counter_ns

from embeddings import conformal, storage, thresholds
from embeddings.artefact import Artefact
from embeddings.costs import Costs, cheapest
from embeddings.errors import EmbeddingsError
from embeddings.passages import clearest, passages
from embeddings.ports import Encoder, Index, Vector
from embeddings.prediction import Candidate, Prediction
from embeddings.scoring import score
from embeddings.spelling import Spelling
from embeddings.token_rows import taught


class IntentModel:
    """An encoder, a head over its vectors, and what the head's scores mean. Immutable; safe to share between threads.

    `index`: where the artefact's examples are asked for, if not in memory; they are not kept in memory then.
    """

    def __init__(self, encoder: Encoder, artefact: Artefact, index: Index | None = None) -> None:
        if artefact.encoder_digest != encoder.digest:
            raise EmbeddingsError(
                "encoder_digest",
                f"The model was trained for encoder {artefact.encoder_digest}, this one is {encoder.digest}.",
            )
        self.encoder = taught(encoder, artefact.rows)
        self.artefact = artefact if index is None else artefact.without_examples()
        self._index = artefact.index if index is None else index
        self.intents = artefact.head.intents
        self.digest = artefact.digest
        self.encoder_digest = artefact.encoder_digest
        self.calibration_digest = artefact.calibration_digest
        self.examples_digest = artefact.examples_digest
        self.report = artefact.report
        self._spelling = Spelling(artefact.words, encoder.words)
        self._familiar: list[float] = sorted(artefact.calibration.in_scope.tolist())

    def __repr__(self) -> str:
        return f"IntentModel({len(self.intents)} intents, {self.digest[:19]})"

    def predict(self, text: str) -> Prediction:
        return self.predict_with_vectors(text)[0]

    def predict_with_vectors(self, text: str) -> tuple[Prediction, list[Vector]]:
        """Also the vectors of the text and, if it is a long one, of its passages, for others that read them."""
        whole, vector = self._predict_one(text)
        parts = [self._predict_one(part) for part in passages(text)]
        found = clearest(whole, [part for part, _ in parts]) if parts else whole
        return found, [vector, *(each for _, each in parts)]

    def _predict_one(self, text: str) -> tuple[Prediction, Vector]:
        started = perf_counter_ns()
        vector = self.encoder.encode_one(self._spelling.corrected(text))
        embedded = perf_counter_ns()
        return self._predict(vector, (embedded - started) / 1000.0, embedded), vector

    def predict_vector(self, vector: Vector) -> Prediction:
        """The same from a vector of shape (dimensions,) the encoder gave."""
        wanted = (self.encoder.dimensions,)
        if vector.shape != wanted:
            raise EmbeddingsError("vector_shape", f"A vector of shape {vector.shape} was given, {wanted} is wanted.")
        return self._predict(vector, 0.0, perf_counter_ns())

    def threshold_for(self, max_error: float) -> float | None:
        """The lowest confidence at which at most `max_error` of accepted in-scope texts are wrong; None if none is."""
        held_out = self.artefact.calibration
        return thresholds.threshold_for(held_out.confidences, held_out.correct, max_error)

    def threshold_by(self, costs: Costs) -> float | None:
        """The confidence from which on accepting in-scope texts costs least; None if it is not proved to cost less than abstaining."""
        held_out = self.artefact.calibration
        found = cheapest(held_out.confidences, held_out.correct, costs)
        return found.confidence if found is not None else None

    def least_probability(self, coverage: float) -> float | None:
        """From which probability on an intent belongs to a prediction set with this coverage; None if held-out texts are too few."""
        return conformal.least_probability(self.artefact.calibration.right, coverage)

    def scope_threshold_for(self, max_rejected: float) -> float:
        """The scope below which at most `max_rejected` of in-scope texts fall."""
        return thresholds.scope_threshold_for(self.artefact.calibration.in_scope, max_rejected)

    def close(self) -> None:
        """Lets go of the index; nothing can be predicted afterwards where that is not in memory."""
        self._index.close()

    def save(self, directory: Path) -> Path:
        """Writes `directory`/<digest>, all or nothing; the path written. Raises EmbeddingsError."""
        return storage.save(self.artefact, directory)

    @classmethod
    def load(cls, path: Path, encoder: Encoder) -> IntentModel:
        """Refuses a model that was altered or trained for another encoder. Raises EmbeddingsError."""
        return cls(encoder, storage.load(path))

    def _novelty(self, scope: float) -> float | None:
        """One less the conformal p-value of the scope among held-out examples: about a tenth of unseen texts about intents is above 0.9,
        whatever the gate's own scale."""
        known = len(self._familiar)
        return (known - bisect_right(self._familiar, scope)) / (known + 1) if known else None

    def _predict(self, vector: Vector, embed_us: float, embedded: int) -> Prediction:
        artefact = self.artefact
        scores = score(artefact.head, self._index, artefact.calibration.temperature, vector)
        candidates = tuple(
            Candidate(self.intents[row], raw, calibrated)
            for row, raw, calibrated in zip(scores.order, scores.raw, scores.calibrated, strict=True)
        )
        scope = artefact.calibration.gate.probability(scores.features)
        return Prediction(
            candidates=candidates,
            confidence=scores.calibrated[0],
            margin=scores.calibrated[0] - scores.calibrated[1],
            scope=scope,
            novelty=self._novelty(scope),
            embed_us=embed_us,
            head_us=(perf_counter_ns() - embedded) / 1000.0,
        )
