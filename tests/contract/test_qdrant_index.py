"""What the Qdrant adapter promises, over the real wire: the answer that memory would give, or one of our codes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.encoder_tier import EncoderTier
from adapters.own_loop import own_loop
from embeddings.artefact import Artefact
from embeddings.errors import SearchError
from embeddings.hashing_encoder import HashingEncoder
from embeddings.index import build_index
from embeddings.model import IntentModel
from embeddings.ports import Index
from embeddings.train import train
from router.cli.main import run
from router.config.judgement import QdrantIndexSettings
from router.decision import Status
from router.errors import ConfigError
from router.registry import ADAPTERS
from router.stages.classification import Cascade, Thresholds
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_model, make_tiers
from router.wiring.stages import make_cascade
from router.workspace import Workspace
from tests.contract.embeddings_server import served
from tests.needs import needs
from tests.unit.stages.requests import text_request

needs("qdrant_client", "pip install 'lockgate[qdrant]', or make extras")

from qdrant_client import models

from tests.contract.qdrant_server import QdrantServer
from tests.contract.small_workspace import small_workspace
from tests.contract.standing_loop import standing_still

NEVER_S = 60.0  # until an answer that nobody waits for
STEPS = 6  # the collection, the index of its field, three batches, and the word that it is complete
ENCODER = HashingEncoder()
EXAMPLES = {
    "cancel payment": [f"{word} payment {number}" for word in ("cancel", "stop", "undo") for number in range(4)],
    "book leave": [f"{word} {number} days of leave" for word in ("book", "request", "plan") for number in range(4)],
}


class StoppedClock(SystemClock):
    """Time passes only when a test says so."""

    seconds = 1000.0

    def monotonic_ns(self) -> int:
        return int(self.seconds * 1e9)


MADE: list[Index] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Nothing that a test made stays open."""
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return train(EXAMPLES, (), ENCODER).artefact


@pytest.fixture(scope="module")
def shared() -> Iterator[QdrantServer]:
    running = QdrantServer()
    with served(running):
        yield running


@pytest.fixture
def server(shared: QdrantServer) -> QdrantServer:
    """As if it had just been started."""
    vars(shared).update(vars(QdrantServer(url=shared.url)))
    return shared


def index(server: QdrantServer, artefact: Artefact, *, key: str | None = None, clock: SystemClock | None = None, **more: Any) -> Any:
    settings = QdrantIndexSettings.model_validate({"url": server.root, "deadline": "5s", **more})
    adapter = ADAPTERS.load("index", "qdrant")
    made = adapter.QdrantIndex(adapter.connect(settings, key), artefact, settings, clock or SystemClock())
    MADE.append(made)
    return made


def ready(server: QdrantServer, artefact: Artefact, **more: Any) -> Any:
    made = index(server, artefact, **more)
    made.store(artefact.index, quiet)
    made.verify(artefact.index)
    return made


def quiet(step: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def vector(text: str = "stop payment 4") -> Any:
    return ENCODER.encode_one(text)


def failure(asked: Callable[[], Any]) -> str:
    with pytest.raises(SearchError) as caught:
        asked()
    return caught.value.code


def upserts(server: QdrantServer) -> int:
    return sum((method, rest) == ("PUT", "/points") for method, rest, _ in server.calls)


def points(change: Callable[[list], Any]) -> Callable[[str, Any], Any]:
    """Spoils what a query finds."""
    return lambda rest, result: {**result, "points": change(result["points"])} if rest == "/points/query" else result


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"status": 401}, "index_unauthorized"),
        ({"status": 403}, "index_unauthorized"),
        ({"status": 404}, "index_missing"),
        ({"status": 400}, "index_unavailable"),
        ({"status": 429}, "index_unavailable"),
        ({"status": 429, "headers": [(b"retry-after", b"20")]}, "index_unavailable"),
        ({"status": 500}, "index_unavailable"),
        ({"status": 503}, "index_unavailable"),
        ({"raw": b'{"result": {'}, "index_malformed"),
        ({"raw": b"null"}, "index_malformed"),
        ({"raw": b"\xff\xfe"}, "index_malformed"),
        ({"raw": b'{"result": null, "status": "ok", "time": 0.0}'}, "index_malformed"),
        ({"headers": [(b"content-encoding", b"gzip")]}, "index_unavailable"),
        ({"spoil": points(lambda found: [])}, "index_malformed"),
        ({"spoil": points(lambda found: found * 2)}, "index_malformed"),
        ({"spoil": points(lambda found: [{**found[0], "score": 1.5}])}, "index_malformed"),
        ({"spoil": points(lambda found: [{**found[0], "score": float("nan")}])}, "index_malformed"),
        ({"spoil": points(lambda found: [{**found[0], "score": "high"}])}, "index_malformed"),
        ({"spoil": points(lambda found: [{**found[0], "score": None}])}, "index_malformed"),
    ],
)
def test_a_failure_is_one_of_our_codes(server: QdrantServer, artefact: Artefact, bad: dict[str, Any], code: str) -> None:
    """Refusals, garbage and cosines that are none are told by code and asked once: nothing is tried again, nothing counts as zero."""
    asking = ready(server, artefact)
    vars(server).update(bad)
    before = len(server.calls)
    assert failure(lambda: asking.nearest(vector(), 0)) == code
    assert len(server.calls) == before + 1


def test_a_server_that_went_away_is_unavailable(artefact: Artefact) -> None:
    """Between two questions, over a connection that was kept."""
    server = QdrantServer()
    with served(server):
        asking = ready(server, artefact)
        asking.nearest(vector(), 0)
    assert failure(lambda: asking.nearest(vector(), 0)) == "index_unavailable"


def test_an_answer_that_comes_too_late_is_none(server: QdrantServer, artefact: Artefact) -> None:
    """The deadline for one question ends it."""
    asking = ready(server, artefact, deadline="150ms")
    server.delay_s, before = NEVER_S, server.answered
    assert failure(lambda: asking.nearest(vector(), 0)) == "index_late"
    assert server.answered == before


def test_a_loop_that_stands_still_keeps_nobody_waiting(server: QdrantServer, artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is told that the answer is late, and what was given up is not asked later on."""
    monkeypatch.setattr("adapters.qdrant_index.GRACE_S", 0.1)
    asking = ready(server, artefact, deadline="100ms", failures=1)
    before = len(server.calls)
    with standing_still() as stands:
        assert failure(lambda: asking.nearest(vector(), 0)) == "index_late"
        assert stands()
    assert index(server, artefact).nearest(vector(), 0) == pytest.approx(artefact.index.nearest(vector(), 0), abs=1e-5)
    assert len(server.calls) == before + 1


def test_a_question_that_is_given_up_under_way_leaves_the_circuit_whole(
    server: QdrantServer, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe without a verdict is none: the next question may find out."""
    clock = StoppedClock()
    asking = ready(server, artefact, clock=clock, failures=1, open_for="1s", deadline="5s")
    server.status = 500
    assert failure(lambda: asking.nearest(vector(), 0)) == "index_unavailable"
    server.status, server.delay_s, clock.seconds = 200, 0.8, clock.seconds + 2
    with monkeypatch.context() as impatient:
        impatient.setattr("adapters.qdrant_index.GRACE_S", -4.8)
        assert failure(lambda: asking.nearest(vector(), 0)) == "index_late"
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), own_loop()).result()  # it is given up on the loop, and not at once
    server.delay_s = 0.0
    assert asking.nearest(vector(), 0) == pytest.approx(artefact.index.nearest(vector(), 0), abs=1e-5)


def test_closing_waits_for_nobody(server: QdrantServer, artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to an end where the loop stands still, and from then on nothing is asked, whether or not a connection is left."""
    monkeypatch.setattr("adapters.qdrant_index.CLOSING_S", 0.1)
    asking = ready(server, artefact)
    with standing_still() as stands:
        asking.close()
        assert stands()
    before = len(server.calls)
    assert failure(lambda: asking.nearest(vector(), 0)) == "index_unavailable"
    assert len(server.calls) == before


def test_no_more_of_a_response_is_read_than_an_answer_needs(server: QdrantServer, artefact: Artefact) -> None:
    """A response that never ends is given up before the deadline, after which it would be late."""
    asking = ready(server, artefact, deadline="1m")
    server.endless = True
    assert failure(lambda: asking.nearest(vector(), 0)) == "index_unavailable"


def test_a_redirect_takes_neither_vector_nor_key_elsewhere(server: QdrantServer, artefact: Artefact) -> None:
    """A server that points to another is a server without an answer."""
    asking, elsewhere = ready(server, artefact, key="ours"), QdrantServer()
    with served(elsewhere):
        server.status, server.headers = 307, [(b"location", f"{elsewhere.root}/collections/x/points/query".encode())]
        assert failure(lambda: asking.nearest(vector(), 0)) == "index_unavailable"
        assert elsewhere.calls == []


def test_failures_in_a_row_open_the_circuit(server: QdrantServer, artefact: Artefact) -> None:
    """The server is left alone for a time; then one question finds out whether it is back."""
    clock = StoppedClock()
    asking = ready(server, artefact, clock=clock, failures=2, open_for="30s")
    server.status, before = 500, len(server.calls)
    assert [failure(lambda: asking.nearest(vector(), 0)) for _ in range(3)] == ["index_unavailable"] * 2 + ["index_circuit_open"]
    assert len(server.calls) == before + 2
    server.status, clock.seconds = 200, clock.seconds + 31
    assert asking.nearest(vector(), 0) == pytest.approx(artefact.index.nearest(vector(), 0), abs=1e-5)


def test_connections_are_kept(server: QdrantServer, artefact: Artefact) -> None:
    """Questions one after the other go over one connection, also on this machine."""
    asking = ready(server, artefact)
    server.clients.clear()
    for _ in range(20):
        asking.nearest(vector(), 0)
    assert len(server.clients) == 1


@pytest.mark.parametrize("path", ["/", "/vectors", "/vectors/"])
def test_the_server_may_be_behind_a_path(server: QdrantServer, artefact: Artefact, path: str) -> None:
    """What stands in the URL behind the host goes before Qdrant's own paths."""
    server.behind = path.rstrip("/")
    asking = ready(server, artefact, url=server.root + path)
    assert asking.nearest(vector(), 0) == pytest.approx(artefact.index.nearest(vector(), 0), abs=1e-5)


def test_neither_texts_nor_names_are_stored(server: QdrantServer, artefact: Artefact) -> None:
    """Vectors, numbers of intents and a digest are all that leaves."""
    ready(server, artefact)
    sent = b"".join(body for _, _, body in server.calls)
    assert b"payment" not in sent
    assert b"leave" not in sent
    assert artefact.digest.encode() in sent


def test_only_the_configured_key_is_sent(server: QdrantServer, artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing goes through a proxy that the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("QDRANT_API_KEY", "of-somebody-else")
    ready(server, artefact)
    assert {headers.get("api-key") for headers in server.sent_headers} == {None}
    ready(server, artefact, key="ours")
    assert {headers.get("api-key") for headers in server.sent_headers} == {None, "ours"}


def test_a_failure_tells_no_secrets(
    server: QdrantServer, artefact: Artefact, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What a server says of the key, and what a URL holds of a password, is in no message, log or output."""
    asking = ready(server, artefact, key="hunter2", url=server.root.replace("//", "//me:hunter2@"))
    server.status, server.raw = 401, b'{"status": {"error": "wrong key hunter2"}}'
    with pytest.raises(SearchError) as caught:
        asking.nearest(vector(), 0)
    out = capfd.readouterr()
    assert str(caught.value) == f"The index's server {server.root.removeprefix('http://')} does not accept the key."
    assert "hunter2" not in out.out + out.err + caplog.text


def test_a_complete_collection_is_not_written_again(server: QdrantServer, artefact: Artefact) -> None:
    """The next start, or the next node, finds it."""
    ready(server, artefact)
    before = upserts(server)
    ready(server, artefact)
    assert upserts(server) == before


def test_a_store_that_was_interrupted_is_completed(server: QdrantServer, artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step failed: until then it is refused, and the next attempt comes to the same collection."""
    monkeypatch.setattr("adapters.qdrant_index.NUMBERS_AT_ONCE", artefact.index.vectors.shape[1] * 10)
    for place in range(STEPS + 1):  # each in turn, and none
        broken, calls = QdrantServer(), iter(range(100))
        broken.refuse = lambda method, rest, calls=calls, place=place: 500 if method in ("PUT", "PATCH") and next(calls) == place else None
        with served(broken):
            if place < STEPS:
                assert failure(partial(index(broken, artefact).store, artefact.index, quiet)) == "index_unavailable"
                assert failure(partial(index(broken, artefact).verify, artefact.index)) in ("index_missing", "index_malformed")
            ready(broken, artefact)


def test_several_may_store_at_once(server: QdrantServer, artefact: Artefact) -> None:
    """Nodes that start together share one collection."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ready(server, artefact), range(4)))
    expected = artefact.index.nearest(vector(), 0)
    assert [each.nearest(vector(), 0) for each in made] == pytest.approx([expected] * 4, abs=1e-5)
    assert len(asyncio.run(server.engine.get_collections()).collections) == 1


def test_another_model_has_another_collection(server: QdrantServer, artefact: Artefact) -> None:
    """What serves goes on answering from its own while the next one is stored, and after it."""
    first = ready(server, artefact)
    other = train({**EXAMPLES, "printer": ["the printer jams", "no ink", "it does not print"]}, (), ENCODER).artefact
    second = ready(server, other)
    for made, of in ((first, artefact), (second, other)):
        assert made.nearest(vector(), 0) == pytest.approx(of.index.nearest(vector(), 0), abs=1e-5)
    assert len(asyncio.run(server.engine.get_collections()).collections) == 2


def spoil_count(rest: str, result: Any) -> Any:
    return {"count": result["count"] - 1} if rest == "/points/count" else result


def forget(rest: str, result: Any) -> Any:
    """A server before 1.16 knows no metadata."""
    if not rest and isinstance(result, dict):
        result["config"].pop("metadata", None)
    return result


def held_as(**changed: Any) -> Callable[[str, Any], Any]:
    def spoil(rest: str, result: Any) -> Any:
        if not rest and isinstance(result, dict):
            result["config"]["params"]["vectors"].update(changed)
        return result

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_count, "delete it to fill it anew"),
        (forget, "with Qdrant from 1.16 on"),
        (held_as(datatype="float16"), "in another form"),
        (held_as(distance="Cosine"), "in another form"),
        (points(lambda found: [{**found[0], "score": found[0]["score"] - 0.01}]), "other cosines"),
        (points(lambda found: []), "something else than one example"),
    ],
)
def test_a_collection_that_is_not_as_it_was_stored_is_refused(
    server: QdrantServer, artefact: Artefact, spoil: Callable[[str, Any], Any], words: str
) -> None:
    """Too few points, no word that it is complete, another precision, or other answers than memory gives."""
    ready(server, artefact)
    server.spoil = spoil
    with pytest.raises(SearchError, match=words) as caught:
        index(server, artefact).verify(artefact.index)
    assert caught.value.code == "index_malformed"


def test_examples_of_another_intent_are_found_out(server: QdrantServer, artefact: Artefact) -> None:
    """Whoever changed what is stored beside the vectors changed what is nearest."""
    made = ready(server, artefact)
    asyncio.run(server.engine.set_payload(made._collection, {"intent": 0}, models.Filter()))
    with pytest.raises(SearchError, match=r"other cosines|something else"):
        index(server, artefact).verify(artefact.index)


def test_an_intent_without_examples_is_not_asked_about(server: QdrantServer, artefact: Artefact) -> None:
    """It is as far from everything as in memory."""
    rows = artefact.index
    empty = replace(artefact, index=build_index(rows.vectors, np.repeat([0, 2], np.diff(rows.offsets)), 3))
    made = ready(server, empty)
    before = len(server.calls)
    assert made.nearest(vector(), 1) == 0.0
    assert len(server.calls) == before


def test_a_model_without_its_examples_has_its_digest_still(server: QdrantServer, artefact: Artefact) -> None:
    """Their vectors are not kept, and its answers are what they were."""
    kept, asking = IntentModel(ENCODER, artefact), IntentModel(ENCODER, artefact, ready(server, artefact))
    assert len(asking.artefact.index.vectors) == 0
    assert asking.digest == asking.artefact.digest == artefact.digest
    for text in ("please stop payment 7", "three days of leave, please", "what a day"):
        assert asking.predict(text).scope == pytest.approx(kept.predict(text).scope, abs=1e-4)
        assert asking.predict(text).candidates == kept.predict(text).candidates


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"status": 500}, "index_unavailable"),
        ({"status": 404}, "index_missing"),
        ({"spoil": points(lambda found: [])}, "index_malformed"),
        ({"delay_s": 2.0}, "index_late"),
    ],
)
def test_a_request_without_an_answer_is_unavailable(server: QdrantServer, artefact: Artefact, bad: dict[str, Any], reason: str) -> None:
    """The code of the failure is the classification's reason; there is no intent."""
    tier = EncoderTier(IntentModel(ENCODER, artefact, ready(server, artefact, deadline="500ms")), 0.95)
    thresholds = Thresholds(0.7, 0.1, 0.5)
    cascade = Cascade(
        [tier], thresholds, dict.fromkeys(EXAMPLES, thresholds), catalog_digest="c", deadline_s=5.0, cache_size=0, clock=SystemClock()
    )
    vars(server).update(bad)
    found = asyncio.run(cascade.classify(text_request("cancel payment"), None, False))
    tier.close()
    assert (found.status, found.intent, found.reason) == (Status.UNAVAILABLE, None, reason)


def workspace(tmp_path: Path, url: str, more: str = "") -> Workspace:
    return small_workspace(tmp_path, f"{{deadline: 5s, static: false, index: {{adapter: qdrant, url: '{url}', deadline: 5s{more}}}}}")


def test_a_catalog_trains_and_classifies(server: QdrantServer, tmp_path: Path) -> None:
    """From a configuration to an intent. What loads a model does not write; without the collection it is not loaded."""
    built = workspace(tmp_path, server.root)
    path = ensure_model(built)
    before = upserts(server)
    model = load_model(built, path)
    tiers = make_tiers(built, model, path)
    found = asyncio.run(make_cascade(built, tiers, model, SystemClock()).classify(text_request("please stop payment 3"), None, False))
    for tier in tiers:
        tier.close()
    assert (found.intent, found.tier, upserts(server)) == ("cancel", "encoder", before)
    asyncio.run(server.engine.delete_collection(f"lockgate-{model.digest.removeprefix('sha256:')}"))
    with pytest.raises(ConfigError, match=f"^The index's server .* has no collection lockgate-{model.digest[7:]}.$"):
        load_model(built, path)


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_command_closes_what_it_opened(
    server: QdrantServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Also the index that it only asks."""
    adapter = ADAPTERS.load("index", "qdrant").QdrantIndex
    opened: list[Any] = []
    closed: list[Any] = []
    make, close = adapter.__init__, adapter.close
    monkeypatch.setattr(adapter, "__init__", lambda self, *given: (opened.append(self), make(self, *given))[1])
    monkeypatch.setattr(adapter, "close", lambda self: (closed.append(self), close(self))[1])
    small_workspace(tmp_path, f"{{static: false, max_error: 50%, index: {{adapter: qdrant, url: '{server.root}', deadline: 5s}}}}")
    assert run([command, "--config", str(tmp_path)]) == 0
    assert len(opened) == 2  # to fill it, and to ask it
    assert {id(each) for each in opened} == {id(each) for each in closed}


def test_a_server_that_is_none_of_qdrant_is_one_sentence(server: QdrantServer, tmp_path: Path) -> None:
    """It knows no collection, and none can be made there."""
    server.status = 404
    with pytest.raises(ConfigError, match=r"^The index's server 127.0.0.1:\d+ does not answer as Qdrant does.$"):
        ensure_model(workspace(tmp_path, server.root))


def test_a_server_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    """Neither serving nor training begins; the sentence names the server, and what a URL may hold of a password is not in it."""
    built = workspace(tmp_path, "http://me:hunter2@127.0.0.1:9")
    with pytest.raises(ConfigError) as caught:
        ensure_model(built)
    assert str(caught.value) == "The index's server 127.0.0.1:9 cannot be reached, or answers with an error."
