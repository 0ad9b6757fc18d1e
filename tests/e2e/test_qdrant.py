"""Examples on Qdrant beside a real Lockgate: several workers and models share the server, and nothing opens when it is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.embeddings_server import served
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_reload import description, digest, lax, new_digest, with_words
from tests.e2e.yard import load, save
from tests.needs import needs

needs("qdrant_client", "pip install 'lockgate[qdrant]', or make extras")

from tests.contract.qdrant_server import QdrantServer

WORDS = "I want to walk in the park"


def classification(lockgate: Lockgate) -> tuple[int, Any]:
    """The answer's status, and the classification in the ledger."""
    answer = lockgate.ask("ann", "POST", "/say", {"text": WORDS})
    return answer.status, lockgate.story(answer.decision)[0]["classification"]


def collections(server: QdrantServer) -> set[str]:
    return {each.name for each in asyncio.run(server.engine.get_collections()).collections}


def collection_of(found: Any) -> str:
    return "lockgate-" + str(found["model_digest"]).removeprefix("sha256:")


@pytest.mark.slow
def test_a_server_serves_each_model_and_nothing_opens_without_it(prepare: Callable[..., Lockgate]) -> None:
    """Both workers answer from one collection. While the server fails, texts are unavailable, and a reload that cannot store its examples
    is refused; once it is back, what serves goes on, and the reload gets a collection of its own."""
    server = QdrantServer()
    with served(server):
        index = {"adapter": "qdrant", "url": server.root, "deadline": "5s", "failures": 1000}
        sure = {"static": False, "cache": 0, "min_confidence": 0, "min_margin": 0, "min_scope": 0, "deadline": "10s", "index": index}
        lockgate = prepare("--workers", "2", classifier=sure)
        with_words(lockgate)
        save(lockgate.yard.data, lax(load(lockgate.yard.data)))
        lockgate.start()
        first, (status, before) = digest(lockgate), classification(lockgate)
        assert (status, before["intent"], before["tier"]) == (200, "wander", "encoder")
        assert collections(server) == {collection_of(before)}

        server.status = 500
        status, found = classification(lockgate)
        assert (status, found["status"], found["intent"], found["reason"]) == (422, "unavailable", None, "index_unavailable")
        with_words(lockgate, "a stroll along the river", "off for a hike")
        problem = until(lambda: description(lockgate)["last_reload_problem"], "the reload was refused")
        assert problem == f"The index's server {server.root.removeprefix('http://')} cannot be reached, or answers with an error."

        server.status = 200
        assert (classification(lockgate)[0], digest(lockgate)) == (200, first)
        lockgate.process.signal(signal.SIGHUP)
        new_digest(lockgate, first)
        status, after = classification(lockgate)
        assert (status, after["intent"]) == (200, "wander")
        assert collections(server) == {collection_of(before), collection_of(after)}
