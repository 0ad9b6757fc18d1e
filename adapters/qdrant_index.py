"""Example vectors on a Qdrant server: one collection per model, named by its digest and never changed once it is complete.

Only vectors and the places of intents are stored there, no text. Nothing is tried again: a question has a deadline, and a server that
failed too often is left alone for a time. What is asked for is exact and in full precision, as it is in memory.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from adapters.bounded_httpx import bounded_response
from adapters.http_upstream.circuit import Circuit
from adapters.own_loop import GRACE_S, own_loop, wait_for
from embeddings.artefact import Artefact
from embeddings.errors import SearchError
from embeddings.index import ExampleIndex
from embeddings.ports import Progress, Vector
from router.config.judgement import QdrantIndexSettings
from router.ports import Clock

Answer = TypeVar("Answer")

INTENT = "intent"  # the only thing that is stored beside a vector
STATED = "lockgate"  # the key of a collection's metadata that says what is in it, once all of it is
MOST_BYTES = 1 << 20  # of a response: the best point's number and score, or what a collection is like
NUMBERS_AT_ONCE = 1 << 17  # about three megabytes of JSON; servers take 32
PROBES = 8
CLOSING_S = 2.0
TOLERANCE = 1e-4  # of a cosine, between two ways of adding up the same products
FAILURES = {
    "index_late": "did not answer in time",
    "index_unauthorized": "does not accept the key",
    "index_missing": "does not have the model's collection",
    "index_malformed": "answered with something that Qdrant does not",
    "index_unavailable": "cannot be reached, or answers with an error",
}
EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))


class QdrantIndex:
    """See `ports.Index`. `store` and `verify` are for when a model is loaded, and raise SearchError with a sentence about what is wrong.

    The examples' own vectors are not kept: only how many each intent has.
    """

    def __init__(self, client: AsyncQdrantClient, artefact: Artefact, settings: QdrantIndexSettings, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._deadline = settings.deadline
        self._patience = settings.batch_deadline
        self._circuit = Circuit(settings.failures, settings.open_for)
        self._loop = own_loop()
        self._closed = False
        self._server = f"The index's server {urlsplit(settings.url).netloc.rpartition('@')[2]}"
        self._collection = settings.prefix + artefact.digest.removeprefix("sha256:")
        self._sizes: list[int] = np.diff(artefact.index.offsets).tolist()
        self._dimensions = artefact.index.vectors.shape[1]
        self._stated = {"model": artefact.digest, "points": sum(self._sizes)}

    def nearest(self, vector: Vector, intent: int) -> float:
        return self._nearest(vector, intent, self._deadline)

    def store(self, examples: ExampleIndex, progress: Progress) -> None:
        """Makes the collection unless it is complete. Interrupted, or done by several at once, it comes to the same: point n is row n."""
        found = self._info()
        if found is not None and self._states(found):
            return
        if found is None:
            self._create()
        self._index_intents()
        self._upsert(examples, progress)
        self._check_count()
        self._ask(lambda: self._client.update_collection(self._collection, metadata={STATED: self._stated}), self._patience)

    def verify(self, examples: ExampleIndex) -> None:
        """That the collection is this model's, complete, in full precision, and gives the answers that memory gives."""
        found = self._info()
        if found is None:
            raise self._wrong("index_missing", f"has no collection {self._collection}")
        held = found.config.params.vectors
        full = (None, models.Datatype.FLOAT32)
        if not isinstance(held, models.VectorParams) or held.datatype not in full or held.distance != models.Distance.DOT:
            raise self._wrong("index_malformed", f"keeps the vectors of {self._collection} in another form than they were given to it")
        if not self._states(found):
            raise self._wrong(
                "index_malformed",
                f"does not say that {self._collection} is complete; `lockgate train` completes it, with Qdrant from 1.16 on",
            )
        self._check_count()
        self._probe(examples)

    def close(self) -> None:
        """Nothing is asked from here on, whether or not the connections could be let go of in time."""
        self._closed = True
        with suppress(TimeoutError):
            wait_for(self._client.close(), self._loop, CLOSING_S)

    def _nearest(self, vector: Vector, intent: int, deadline: float) -> float:
        if not self._sizes[intent]:
            return 0.0
        wanted = models.Filter(must=[models.FieldCondition(key=INTENT, match=models.MatchValue(value=intent))])
        numbers = vector.tolist()
        found = self._ask(
            lambda: self._client.query_points(
                self._collection, numbers, query_filter=wanted, search_params=EXACT, limit=1, with_payload=False, with_vectors=False
            ),
            deadline,
        )
        score = found.points[0].score if len(found.points) == 1 else math.nan
        if not abs(score) <= 1.0 + TOLERANCE:
            raise self._wrong("index_malformed", "answered with something else than one example and its cosine")
        return score

    def _info(self) -> models.CollectionInfo | None:
        try:
            return self._ask(lambda: self._client.get_collection(self._collection), self._patience)
        except SearchError as error:
            if error.code != "index_missing":
                raise
            return None

    def _states(self, found: models.CollectionInfo) -> bool:
        return (found.config.metadata or {}).get(STATED) == self._stated

    def _create(self) -> None:
        """No graph is built: nothing is ever looked for in another way than by looking at all examples of an intent."""
        try:
            self._ask(
                lambda: self._client.create_collection(
                    self._collection,
                    vectors_config=models.VectorParams(size=self._dimensions, distance=models.Distance.DOT),
                    hnsw_config=models.HnswConfigDiff(m=0),
                ),
                self._patience,
            )
        except SearchError as error:
            if error.code == "index_missing":
                raise self._wrong("index_unavailable", "does not answer as Qdrant does") from None
            if self._info() is None:  # else another node was a moment faster
                raise

    def _index_intents(self) -> None:
        index = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False)
        self._ask(lambda: self._client.create_payload_index(self._collection, INTENT, index, wait=True), self._patience)

    def _upsert(self, examples: ExampleIndex, progress: Progress) -> None:
        intents = np.repeat(np.arange(len(self._sizes)), self._sizes).tolist()
        total, size = len(intents), max(1, NUMBERS_AT_ONCE // self._dimensions)
        for start in range(0, total, size):
            rows = range(start, min(start + size, total))
            payloads: list[dict[str, Any]] = [{INTENT: intents[row]} for row in rows]
            batch = models.Batch(ids=list(rows), vectors=examples.vectors[start : rows.stop].tolist(), payloads=payloads)
            self._ask(partial(self._client.upsert, self._collection, batch, wait=True), self._patience)
            progress("index", rows.stop, total)

    def _check_count(self) -> None:
        found = self._ask(lambda: self._client.count(self._collection, exact=True), self._patience).count
        if found != self._stated["points"]:
            raise self._wrong(
                "index_malformed",
                f"holds {found} examples in {self._collection}, the model has {self._stated['points']}; delete it to fill it anew",
            )

    def _probe(self, examples: ExampleIndex) -> None:
        """Some examples, about their own intent and the next one: a wrong filter or a lower precision shows in the answers."""
        classes = len(self._sizes)
        for row in np.linspace(0, len(examples.vectors) - 1, PROBES).astype(np.intp).tolist():
            own = int(np.searchsorted(examples.offsets, row, side="right")) - 1
            for intent in (own, (own + 1) % classes):
                found = self._nearest(examples.vectors[row], intent, self._patience)
                if abs(found - examples.nearest(examples.vectors[row], intent)) > TOLERANCE:
                    raise self._wrong(
                        "index_malformed", f"gives other cosines from {self._collection} than the examples have; delete it to fill it anew"
                    )

    def _ask(self, call: Callable[[], Awaitable[Answer]], deadline: float) -> Answer:
        if self._closed:
            raise self._wrong("index_unavailable", "is not asked any more: the index was closed")
        try:
            return wait_for(self._answer(call, deadline), self._loop, deadline + GRACE_S)
        except TimeoutError:
            raise self._wrong("index_late", FAILURES["index_late"]) from None

    async def _answer(self, call: Callable[[], Awaitable[Answer]], deadline: float) -> Answer:
        """On the loop's thread alone, so that nothing here needs a lock. A collection that is not there is an answer."""
        if not self._circuit.allows(self._now()):
            raise self._wrong("index_circuit_open", "failed too often just now")
        self._circuit.enter()
        try:
            async with asyncio.timeout(deadline):
                answered = await call()
        except asyncio.CancelledError:
            self._circuit.abandoned()
            raise
        except Exception as error:  # noqa: BLE001  # the client passes on what its own libraries raise; all of it is one of our codes
            code = _fault(error)
            if code == "index_missing":
                self._circuit.succeeded()
            else:
                self._circuit.failed(self._now())
            raise self._wrong(code, FAILURES[code]) from None
        self._circuit.succeeded()
        return answered

    def _wrong(self, code: str, what: str) -> SearchError:
        return SearchError(code, f"{self._server} {what}.")

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def connect(settings: QdrantIndexSettings, api_key: str | None) -> AsyncQdrantClient:
    """Asks nothing yet. It goes where the URL says and nowhere else: no proxy of the environment, no redirect, no check of versions."""
    headers = {"accept-encoding": "identity"}
    if api_key is not None:
        headers["api-key"] = api_key  # as an argument the library would remark on it for http, which is this machine
    library: dict[str, Any] = {
        "trust_env": False,
        # The server itself ends what is idle for five seconds: a question must not meet that.
        "limits": httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=4.0),
        "event_hooks": {"response": [bounded_response(MOST_BYTES)]},
    }
    timeout = math.ceil(settings.batch_deadline)
    return AsyncQdrantClient(url=settings.url, port=None, headers=headers, timeout=timeout, check_compatibility=False, **library)


def _fault(error: Exception) -> str:
    """By kind, and never in the server's own words."""
    status = error.status_code if isinstance(error, UnexpectedResponse) else None
    if isinstance(error, TimeoutError):
        return "index_late"
    if status in (401, 403):
        return "index_unauthorized"
    if status == 404:
        return "index_missing"
    malformed = isinstance(getattr(error, "source", error), ValueError | AssertionError)
    return "index_malformed" if malformed else "index_unavailable"
