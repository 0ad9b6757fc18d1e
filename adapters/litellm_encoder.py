"""An embeddings server through litellm as the text encoder. Texts leave this process, by default with what was found personal masked.

Nothing is tried again: a call has a deadline, and a server that failed too often is left alone for a time. A vector of another model than
the one at the start is no vector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from adapters.http_upstream.circuit import Circuit
from adapters.litellm_library import NO_KEY, Fault, believed, fault_of, litellm, pause_of, server_client
from adapters.own_loop import GRACE_S, own_loop, wait_for
from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError, EncodingError
from embeddings.manifest import DEFAULT_LANGUAGES
from embeddings.ports import Matrix, Vector
from embeddings.text import bounded
from router.config.judgement import LitellmEncoderSettings
from router.ports import Clock

MOST_BYTES = 16 << 20  # of a response: 128 vectors of 4,096 numbers are 12 MiB at most
BLANK = " "  # in place of an empty text, which servers refuse
FAILURES = {
    Fault.LATE: ("encoder_late", "did not answer in time"),
    Fault.LIMITED: ("encoder_rate_limited", "limits its callers"),
    Fault.UNAUTHORIZED: ("encoder_unauthorized", "does not accept the key"),
    Fault.REFUSED: ("encoder_refused", "refuses the request, as it does where a text is too long or the model unknown"),
    Fault.UNAVAILABLE: ("encoder_unavailable", "cannot be reached, or gave no usable response"),
}


class LitellmEncoder:
    """See `ports.Encoder`. Asks for one vector when it is made, which says the model's version and dimensions. Raises EncodingError where
    that fails.

    `mask` makes of a text what may leave this process, and `masking` (a JSON value) says how: masked texts have other vectors.
    `max_tokens` is the bound in characters, the only one that can be held here; a token is a character at least.
    """

    additive = False
    words: frozenset[str] = frozenset()
    languages = DEFAULT_LANGUAGES  # servers do not say it

    def __init__(
        self,
        settings: LitellmEncoderSettings,
        api_key: str | None,
        *,
        mask: Callable[[str], str],
        masking: object,
        clock: Clock,
        root: Path = Path(),
    ) -> None:
        self._settings = settings
        self._api_key = api_key or NO_KEY
        self._mask = mask
        self._clock = clock
        self._server = f"The encoder's server {urlsplit(settings.url).netloc.rpartition('@')[2]}"
        self._client = server_client(
            settings.provider, settings.url, self._api_key, settings.batch_deadline, MOST_BYTES, ca=believed(settings.ca, root)
        )
        self._circuit = Circuit(settings.failures, settings.open_for)
        self._not_before = 0.0
        self._loop = own_loop()
        self.max_tokens = settings.characters
        first, self._reported = self._ask(["a"], settings.batch_deadline)
        self.dimensions = settings.dimensions or first.shape[1]
        self._check(first, self._reported)
        self.digest = digest_of(
            {
                "encoder": "litellm",
                "provider": settings.provider,
                "model": settings.model,
                "reported": self._reported,
                "dimensions": self.dimensions,
                "characters": settings.characters,
                "masking": masking,
            }
        )
        if settings.digest is not None and settings.digest != self.digest:
            raise EmbeddingsError("encoder_digest", f"{settings.model}: the encoder has digest {self.digest}, {settings.digest} is wanted.")

    def encode(self, texts: Sequence[str]) -> Matrix:
        size = self._settings.batch
        batches = (texts[start : start + size] for start in range(0, len(texts), size))
        found = [self._encoded(batch, self._settings.batch_deadline) for batch in batches]
        return np.concatenate(found) if found else np.empty((0, self.dimensions), dtype=np.float32)

    def encode_one(self, text: str) -> Vector:
        vector: Vector = self._encoded([text], self._settings.deadline)[0]
        return vector

    def _encoded(self, texts: Sequence[str], deadline: float) -> Matrix:
        """What is found to be personal is found in the whole text, before it is cut."""
        vectors, reported = self._ask([bounded(self._mask(text), self.max_tokens) or BLANK for text in texts], deadline)
        self._check(vectors, reported)
        return vectors

    def _check(self, vectors: Matrix, reported: str) -> None:
        if reported != self._reported:
            raise self._wrong("encoder_changed", f"reports the model {reported!r}, at the start it was {self._reported!r}")
        if vectors.shape[1] != self.dimensions:
            raise self._wrong("encoder_malformed", f"gave vectors of {vectors.shape[1]} numbers, {self.dimensions} are wanted")

    def _ask(self, texts: Sequence[str], deadline: float) -> tuple[Matrix, str]:
        """Unit vectors, and the model that the server reports (empty where it reports none)."""
        try:
            answered = wait_for(self._answer(texts, deadline), self._loop, deadline + GRACE_S)
        except TimeoutError:
            raise self._wrong(*FAILURES[Fault.LATE]) from None
        try:
            return _vectors(answered.data, len(texts)), answered.model if isinstance(answered.model, str) else ""
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise self._wrong("encoder_malformed", "answered with something else than one vector for each text, in order") from None

    async def _answer(self, texts: Sequence[str], deadline: float) -> Any:
        """On the loop's thread alone, so that nothing here needs a lock."""
        now = self._now()
        if now < self._not_before or not self._circuit.allows(now):
            raise self._wrong("encoder_circuit_open", "failed too often just now, or asked for a pause")
        self._circuit.enter()
        try:
            async with asyncio.timeout(deadline):
                answered = await litellm.aembedding(**self._call(texts, deadline))
        except asyncio.CancelledError:
            self._circuit.abandoned()
            raise
        except Exception as error:  # noqa: BLE001  # litellm raises what it likes; all of it is one of our codes
            raise self._failed(error) from None
        self._circuit.succeeded()
        return answered

    def _call(self, texts: Sequence[str], deadline: float) -> dict[str, Any]:
        settings = self._settings
        return {
            "model": settings.model,
            "custom_llm_provider": settings.provider,
            "api_base": settings.url,
            "api_key": self._api_key,
            "input": list(texts),
            "encoding_format": "float",
            "timeout": deadline,
            "client": self._client,
            "num_retries": 0,
            "max_retries": 0,
        }

    def _failed(self, error: Exception) -> EncodingError:
        """A text that the server refuses is its sender's, and must not keep others from being served."""
        fault, now = fault_of(error), self._now()
        if fault is Fault.REFUSED:
            self._circuit.succeeded()
        else:
            self._circuit.failed(now)
        if fault is Fault.LIMITED:
            self._not_before = now + pause_of(error)
        return self._wrong(*FAILURES[fault])

    def _wrong(self, code: str, what: str) -> EncodingError:
        return EncodingError(code, f"{self._server} {what}.")

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _vectors(data: Any, count: int) -> Matrix:
    """Shape (count, dimensions), unit rows. Raises ValueError, TypeError, KeyError or OverflowError."""
    if len(data) != count or any(item["index"] != place for place, item in enumerate(data)):
        raise ValueError("there is not one vector for each text, in order")
    rows = [_unit(item["embedding"]) for item in data]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("the vectors differ in length")
    return np.stack(rows)


def _unit(numbers: Any) -> Vector:
    """One by one, so that a vector does not depend on its batch."""
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise TypeError("a vector is a list of numbers")
    row = np.array(numbers, dtype=np.float64)
    largest = float(np.max(np.abs(row)))
    if not np.isfinite(largest) or largest == 0.0:
        raise ValueError("a vector has a direction")
    row /= largest  # the squares of very large or small numbers would be none
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)
