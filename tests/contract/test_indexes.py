"""What every index of examples promises: in memory, on Qdrant's engine over the wire, and on a real server that `QDRANT_URL` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import import_module
from uuid import uuid4

import numpy as np
import pytest

from embeddings.artefact import Artefact
from embeddings.hashing_encoder import HashingEncoder
from embeddings.index import MAX_PER_INTENT, ExampleIndex
from embeddings.ports import Index
from embeddings.train import train
from router.config.judgement import QdrantIndexSettings
from router.registry import ADAPTERS
from router.system import SystemClock
from tests.contract.embeddings_server import served
from tests.needs import wanted

PREFIX = f"contract-{uuid4().hex[:8]}-"
ENCODER = HashingEncoder()
EXAMPLES = {
    "cancel": [f"{word} payment {number}" for word in ("cancel", "stop", "undo") for number in range(100)],
    "leave": [f"{word} {number} days of leave" for word in ("book", "request") for number in range(4)],
    "printer": [f"the printer {word} {number}" for word in ("jams", "is out of ink") for number in range(4)],
}


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    """Its first intent has more examples than are kept of any, its last one none."""
    found = train(EXAMPLES, (), ENCODER).artefact
    rows = found.index
    return replace(found, index=ExampleIndex(rows.vectors, np.append(rows.offsets, rows.offsets[-1])))


def stored(artefact: Artefact, url: str, key: str | None = None) -> Index:
    settings = QdrantIndexSettings.model_validate({"url": url, "prefix": PREFIX, "deadline": "20s"})
    adapter = ADAPTERS.load("index", "qdrant")
    index = adapter.QdrantIndex(adapter.connect(settings, key), artefact, settings, SystemClock())
    index.store(artefact.index, lambda *_: None)
    index.verify(artefact.index)
    made: Index = index
    return made


@contextmanager
def over_the_wire(artefact: Artefact) -> Iterator[Index]:
    server = import_module("tests.contract.qdrant_server").QdrantServer()
    with served(server), closing(stored(artefact, server.root)) as made:
        yield made


@contextmanager
def on_a_real_server(artefact: Artefact) -> Iterator[Index]:
    url, key = os.environ["QDRANT_URL"], os.environ.get("QDRANT_API_KEY")
    with closing(stored(artefact, url, key)) as made:
        yield made
    headers = {"api-key": key} if key else None
    client = import_module("qdrant_client").QdrantClient(url=url, port=None, headers=headers, check_compatibility=False)
    client.delete_collection(PREFIX + artefact.digest.removeprefix("sha256:"))
    client.close()


@contextmanager
def in_memory(artefact: Artefact) -> Iterator[Index]:
    yield artefact.index


MAKERS: dict[str, Callable] = {"memory": in_memory}
if wanted("qdrant_client"):
    MAKERS["qdrant"] = over_the_wire
if "QDRANT_URL" in os.environ:
    MAKERS["qdrant-server"] = on_a_real_server


@pytest.fixture(scope="module", params=MAKERS)
def index(request: pytest.FixtureRequest, artefact: Artefact) -> Iterator[Index]:
    with MAKERS[request.param](artefact) as made:
        yield made


def test_the_nearest_example_is_what_memory_says(index: Index, artefact: Artefact) -> None:
    """For texts that are examples, like examples and like none, about each intent, the cosine is the same within rounding."""
    texts = ["cancel payment 7", "stop the payment", "book a day off", "the printer is on fire", "qwertz", ""]
    for vector in ENCODER.encode(texts):
        for intent in range(len(artefact.head.intents)):
            assert index.nearest(vector, intent) == pytest.approx(artefact.index.nearest(vector, intent), abs=1e-5)


def test_an_example_is_nearest_to_itself(index: Index, artefact: Artefact) -> None:
    """Its own intent gives one, the others give less."""
    row = int(artefact.index.offsets[1])
    assert index.nearest(artefact.index.vectors[row], 1) == pytest.approx(1.0, abs=1e-5)
    assert index.nearest(artefact.index.vectors[row], 0) < 0.99


def test_no_more_examples_are_looked_at_than_are_kept(index: Index, artefact: Artefact) -> None:
    """What the gate learnt from is what it is asked about: an example that training left out is not its own neighbour."""
    assert int(artefact.index.offsets[1]) == MAX_PER_INTENT
    kept = {row.tobytes() for row in artefact.index.vectors}
    left_out = next(vector for vector in ENCODER.encode(EXAMPLES["cancel"]) if vector.tobytes() not in kept)
    assert index.nearest(left_out, 0) < 1 - 1e-5


def test_an_intent_without_examples_is_like_nothing(index: Index, artefact: Artefact) -> None:
    """Zero, and no failure."""
    assert index.nearest(ENCODER.encode_one("cancel payment 7"), len(artefact.head.intents)) == 0.0


def test_a_vector_against_all_examples_has_a_negative_cosine(index: Index, artefact: Artefact) -> None:
    """Nothing is cut off at zero."""
    away = -artefact.index.vectors[artefact.index.offsets[1] : artefact.index.offsets[2]].sum(axis=0)
    away /= np.linalg.norm(away)
    assert index.nearest(away.astype(np.float32), 1) < 0


def test_threads_share_an_index(index: Index, artefact: Artefact) -> None:
    """Concurrent questions give what questions one after the other give."""
    vectors = ENCODER.encode([f"cancel payment {number} now" for number in range(40)])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda vector: index.nearest(vector, 0), vectors))
    assert found == pytest.approx([artefact.index.nearest(vector, 0) for vector in vectors], abs=1e-5)


def test_closing_twice_is_closing(artefact: Artefact) -> None:
    """A configuration that is given up may close what was closed."""
    for make in MAKERS.values():
        with make(artefact) as index:
            index.close()
            index.close()
