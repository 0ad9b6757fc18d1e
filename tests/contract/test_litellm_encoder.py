"""What the embeddings adapter promises, over the real wire: a vector of the model that it began with, or one of our codes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.encoder_tier import EncoderTier
from embeddings.errors import EmbeddingsError, EncodingError
from embeddings.ports import Encoder
from embeddings.train import train
from router.config.judgement import LitellmEncoderSettings
from router.decision import Status
from router.errors import ConfigError
from router.registry import ADAPTERS
from router.stages.classification import Cascade, Thresholds
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_encoder, load_model, make_tiers
from router.wiring.llm import asked_digest
from router.wiring.stages import make_cascade
from router.workspace import Workspace
from tests.contract.embeddings_server import EmbeddingsServer, minilm, served
from tests.contract.llm_server import MODEL
from tests.contract.small_workspace import small_workspace
from tests.contract.standing_loop import standing_still
from tests.needs import needs
from tests.unit.stages.requests import text_request

needs("litellm", "run `make test`")

Data = list[dict[str, Any]]
NEVER_S = 60.0  # until an answer that nobody waits for


class StoppedClock(SystemClock):
    """Time passes only when a test says so."""

    seconds = 1000.0

    def monotonic_ns(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    running = EmbeddingsServer()
    with served(running):
        yield running


def encoder(
    server: EmbeddingsServer,
    *,
    key: str | None = None,
    clock: SystemClock | None = None,
    mask: Callable[[str], str] = str,
    masking: object = None,
    **more: Any,
) -> Encoder:
    settings = LitellmEncoderSettings.model_validate({"url": server.url, "model": "small", "deadline": "5s", **more})
    adapter = ADAPTERS.load("encoder", "litellm")
    made: Encoder = adapter.LitellmEncoder(settings, key, mask=mask, masking=masking, clock=clock or SystemClock())
    return made


def failure(encoding: Encoder, text: str = "stop it") -> str:
    with pytest.raises(EncodingError) as caught:
        encoding.encode_one(text)
    return caught.value.code


def spoilt(**changes: Any) -> Callable[[Data], Any]:
    return lambda data: [{**each, **changes} for each in data]


def numbers(change: Callable[[list[float]], Any]) -> Callable[[Data], Any]:
    return lambda data: [{**each, "embedding": change(each["embedding"])} for each in data]


def test_vectors_are_the_models_at_length_one(server: EmbeddingsServer) -> None:
    """The server's vectors come at another length and leave with the same direction."""
    texts = ["cancel my payment", "book leave"]
    assert np.allclose(encoder(server).encode(texts), minilm().encode(texts), atol=1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_very_small_and_large_vectors_have_a_direction(server: EmbeddingsServer, factor: float) -> None:
    """Squares that are too small or too large for a float spoil nothing."""
    server.spoil = numbers(lambda row: [number * factor for number in row])
    assert np.allclose(encoder(server).encode_one("cancel"), minilm().encode_one("cancel"), atol=1e-6)


def test_batches_are_bounded_and_stay_in_order(server: EmbeddingsServer) -> None:
    """No call has more texts than `batch` says."""
    texts = [f"cancel payment {number}" for number in range(7)]
    encoding = encoder(server, batch=3)
    assert np.array_equal(encoding.encode(texts), np.stack([encoding.encode_one(text) for text in texts]))
    assert [asked["input"] for asked in server.asked[1:4]] == [texts[:3], texts[3:6], texts[6:]]


def test_what_is_sent_is_what_is_meant(server: EmbeddingsServer) -> None:
    """The model by its name, whatever stands in it, plain numbers, and as many characters as are allowed; an empty text is a blank."""
    encoding = encoder(server, model="some/model:latest", characters=10)
    encoding.encode(["", "cancel payment 4711"])
    assert server.asked[-1] == {"model": "some/model:latest", "input": [" ", "cancel pay"], "encoding_format": "float"}


def test_personal_data_is_masked_before_a_text_is_cut(server: EmbeddingsServer) -> None:
    """Half of a number that is cut is not recognised any more, so it is looked for first."""
    encoding = encoder(server, characters=10, mask=lambda text: text.replace("4711", "[id]"))
    encoding.encode(["payment 4711"])
    encoding.encode_one("payment 4711")
    assert [asked["input"] for asked in server.asked[-2:]] == [["payment [i"]] * 2


def test_only_the_configured_key_is_sent(server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment is another server's, and so is whatever else is there of an account."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_ORGANIZATION", "OPENAI_PROJECT_ID", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "of-somebody-else")
    encoder(server)
    encoder(server, key="ours")
    assert [headers["authorization"] for headers in server.sent_headers] == ["Bearer none", "Bearer ours"]
    assert "of-somebody-else" not in str(server.sent_headers)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"status": 429}, "encoder_rate_limited"),
        ({"status": 401}, "encoder_unauthorized"),
        ({"status": 403}, "encoder_unauthorized"),
        ({"status": 400}, "encoder_refused"),
        ({"status": 413}, "encoder_refused"),
        ({"status": 404}, "encoder_unavailable"),
        ({"status": 500}, "encoder_unavailable"),
        ({"raw": b'{"data": [{'}, "encoder_unavailable"),
        ({"raw": b"null"}, "encoder_unavailable"),
        ({"raw": b"\xff\xfe"}, "encoder_unavailable"),
        ({"headers": [(b"content-encoding", b"gzip")]}, "encoder_unavailable"),
        ({"spoil": lambda data: data * 2}, "encoder_malformed"),
        ({"spoil": lambda _: []}, "encoder_malformed"),
        ({"spoil": spoilt(index=1)}, "encoder_malformed"),
        ({"spoil": spoilt(index=None)}, "encoder_malformed"),
        ({"spoil": spoilt(embedding=None)}, "encoder_malformed"),
        ({"spoil": spoilt(embedding=[])}, "encoder_malformed"),
        ({"spoil": spoilt(embedding=["1"] * 384)}, "encoder_malformed"),
        ({"spoil": spoilt(embedding=[0.0] * 384)}, "encoder_malformed"),
        ({"spoil": spoilt(embedding=[10**400] * 384)}, "encoder_unavailable"),
        ({"spoil": numbers(lambda row: row[:-1])}, "encoder_malformed"),
        ({"spoil": numbers(lambda row: [float("nan"), *row[1:]])}, "encoder_malformed"),
        ({"spoil": numbers(lambda row: [float("inf"), *row[1:]])}, "encoder_malformed"),
        ({"model": "small-1b@2026-12"}, "encoder_changed"),
        ({"model": None}, "encoder_changed"),
    ],
)
def test_a_failure_is_one_of_our_codes(server: EmbeddingsServer, bad: dict[str, Any], code: str) -> None:
    """Refusals, garbage, vectors that are none, and another model are told by code, and asked once: nothing is tried again."""
    encoding = encoder(server)
    vars(server).update(bad)
    assert failure(encoding) == code
    assert len(server.asked) == 2


@pytest.mark.parametrize("spoil", [lambda data: data[::-1], lambda data: data[:1], lambda data: [data[0], {**data[1], "embedding": [1.0]}]])
def test_a_batch_in_disorder_is_refused(server: EmbeddingsServer, spoil: Callable[[Data], Any]) -> None:
    """Another text's vector would be worse than none."""
    encoding = encoder(server)
    server.spoil = spoil
    with pytest.raises(EncodingError) as caught:
        encoding.encode(["a", "b"])
    assert caught.value.code == "encoder_malformed"


def test_the_model_is_the_one_of_the_start(server: EmbeddingsServer) -> None:
    """While another one is reported nothing is answered; the first one is welcome back."""
    encoding = encoder(server)
    server.model = "another"
    assert [failure(encoding) for _ in range(8)] == ["encoder_changed"] * 8
    server.model = MODEL
    encoding.encode_one("stop it")


def test_a_loop_that_stands_still_keeps_nobody_waiting(server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text's vector is late where nothing that could ask for it runs, and is not asked for later on."""
    monkeypatch.setattr("adapters.litellm_encoder.GRACE_S", 0.1)
    encoding = encoder(server, deadline="100ms")
    before = len(server.asked)
    with standing_still() as stands:
        assert failure(encoding) == "encoder_late"
        assert stands()
    encoder(server)  # asks for one vector
    assert len(server.asked) == before + 1


def test_a_late_answer_is_none(server: EmbeddingsServer) -> None:
    """The deadline for one text ends the call, that of a batch is longer."""
    encoding = encoder(server, deadline="200ms")
    server.delay_s, before = NEVER_S, server.answered
    assert failure(encoding) == "encoder_late"
    assert server.answered == before
    server.delay_s = 1.0
    encoding.encode(["stop it"])


def test_no_more_of_a_response_is_read_than_vectors_may_need(server: EmbeddingsServer) -> None:
    """A response that never ends is given up before the deadline, after which it would be late."""
    encoding = encoder(server, deadline="1m")
    server.endless = True
    assert failure(encoding) == "encoder_unavailable"


def test_a_redirect_takes_neither_text_nor_key_elsewhere(server: EmbeddingsServer) -> None:
    """A server that points to another is a server without a usable response."""
    encoding, elsewhere = encoder(server), EmbeddingsServer()
    with served(elsewhere):
        server.status, server.headers = 307, [(b"location", f"{elsewhere.url}/embeddings".encode())]
        assert failure(encoding) == "encoder_unavailable"
        assert elsewhere.asked == []


def test_failures_in_a_row_open_the_circuit(server: EmbeddingsServer) -> None:
    """The server is left alone for a time; then one call finds out whether it is back."""
    clock = StoppedClock()
    encoding = encoder(server, clock=clock, failures=2, open_for="30s")
    server.status = 500
    assert [failure(encoding) for _ in range(3)] == ["encoder_unavailable", "encoder_unavailable", "encoder_circuit_open"]
    assert len(server.asked) == 3
    server.status, clock.seconds = 200, clock.seconds + 31
    encoding.encode_one("stop it")
    encoding.encode_one("stop it")


def test_texts_that_are_refused_do_not_shut_others_out(server: EmbeddingsServer) -> None:
    """Whoever sends what the server does not take cannot open the circuit."""
    encoding = encoder(server, failures=1)
    server.status = 400
    assert [failure(encoding) for _ in range(3)] == ["encoder_refused"] * 3
    server.status = 200
    encoding.encode_one("stop it")


def test_a_pause_that_the_server_asks_for_is_honoured(server: EmbeddingsServer) -> None:
    """429 with Retry-After: nobody calls before, whatever the circuit says."""
    clock = StoppedClock()
    encoding = encoder(server, clock=clock)
    server.status, server.headers = 429, [(b"retry-after", b"20")]
    assert [failure(encoding) for _ in range(2)] == ["encoder_rate_limited", "encoder_circuit_open"]
    server.status, server.headers, clock.seconds = 200, [], clock.seconds + 21
    encoding.encode_one("stop it")


def test_a_failure_tells_no_secrets(server: EmbeddingsServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """What the server says of key and text is in no message, log or output."""
    encoding = encoder(server, key="sk-hunter2")
    server.status, server.raw = 401, b'{"error": {"message": "wrong key sk-hunter2 for: stop it"}}'
    with pytest.raises(EncodingError) as caught:
        encoding.encode_one("stop it")
    out = capfd.readouterr()
    for shown in (str(caught.value), out.out, out.err, caplog.text):
        assert "hunter2" not in shown
        assert "stop it" not in shown


def test_the_digest_is_the_models_and_not_the_places(server: EmbeddingsServer) -> None:
    """The same model elsewhere is the same encoder; another name, version, bound or way of masking is another."""
    found = encoder(server).digest
    with served(EmbeddingsServer()) as elsewhere:
        assert encoder(elsewhere, key="other", dimensions=384, batch=1, digest=found).digest == found
    others = [encoder(server, **more).digest for more in ({"model": "big"}, {"characters": 99}, {"masking": ["masked", None]})]
    server.model = "small-1b@2026-12"
    assert len({found, *others, encoder(server).digest}) == 5


@pytest.mark.parametrize(
    ("more", "code"), [({"dimensions": 1024}, "encoder_malformed"), ({"digest": "sha256:0"}, "encoder_digest"), ({}, "encoder_unavailable")]
)
def test_what_does_not_fit_is_refused_at_the_start(server: EmbeddingsServer, more: dict[str, Any], code: str) -> None:
    """Other dimensions than stated, another digest than pinned, or no server at all."""
    if not more:
        server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(EmbeddingsError) as caught:
        encoder(server, **more)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"status": 500}, "encoder_unavailable"),
        ({"model": "another"}, "encoder_changed"),
        ({"spoil": spoilt(embedding=[0.0] * 384)}, "encoder_malformed"),
        ({"delay_s": 2.0}, "encoder_late"),
    ],
)
def test_a_request_without_a_vector_is_unavailable(server: EmbeddingsServer, bad: dict[str, Any], reason: str) -> None:
    """The code of the failure is the classification's reason; there is no intent."""
    examples = {name: [f"{name} number {each}" for each in range(8)] for name in ("cancel payment", "book leave")}
    tier = EncoderTier(train(examples, (), encoder(server, deadline="500ms")), 0.95)
    thresholds = Thresholds(0.7, 0.1, 0.5)
    cascade = Cascade(
        [tier], thresholds, dict.fromkeys(examples, thresholds), catalog_digest="c", deadline_s=5.0, cache_size=0, clock=SystemClock()
    )
    vars(server).update(bad)
    found = asyncio.run(cascade.classify(text_request("cancel payment"), None, False))
    tier.close()
    assert (found.status, found.intent, found.reason) == (Status.UNAVAILABLE, None, reason)


def workspace(tmp_path: Path, url: str, more: str = "") -> Workspace:
    return small_workspace(tmp_path, f"{{deadline: 5s, encoder: {{adapter: litellm, url: '{url}', model: small, deadline: 5s{more}}}}}")


@pytest.mark.slow
def test_a_catalog_trains_and_classifies(server: EmbeddingsServer, tmp_path: Path) -> None:
    """From a configuration to an intent; what looks like a card number never arrives at the server."""
    built = workspace(tmp_path, server.url)
    path = ensure_model(built)
    assert path is not None
    model = load_model(built, path)
    tiers = make_tiers(built, model, path)
    cascade = make_cascade(built, tiers, model, SystemClock())
    found = asyncio.run(cascade.classify(text_request("please stop payment 3 from 4111 1111 1111 1111"), None, False))
    for tier in tiers:
        tier.close()
    assert (found.candidates[0].intent, found.tier) == ("cancel", "encoder")
    assert "4111 1111" not in str(server.asked)


def test_a_server_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    """Neither serving nor training begins; the sentence names the server, and what a URL may hold of a password is not in it."""
    built = workspace(tmp_path, "http://me:hunter2@127.0.0.1:9/v1")
    with pytest.raises(ConfigError) as caught:
        ensure_model(built)
    assert str(caught.value) == "The encoder's server 127.0.0.1:9 cannot be reached, or gave no usable response."


def test_texts_are_masked_unless_that_is_switched_off(server: EmbeddingsServer, tmp_path: Path) -> None:
    """It is another encoder then."""
    text = "pay with 4111 1111 1111 1111"
    masked, raw = (load_encoder(workspace(tmp_path, server.url, more)) for more in ("", ", raw_text: true"))
    masked.encode_one(text)
    raw.encode_one(text)
    assert "4111" not in server.asked[-2]["input"][0]
    assert server.asked[-1]["input"] == [text]
    assert masked.digest != raw.digest


def test_a_calibration_outlives_a_move_of_the_server(tmp_path: Path) -> None:
    """What was measured with an encoder counts wherever the same one is reached, and not for another."""
    url = "http://127.0.0.1:9/v1"
    found = asked_digest(workspace(tmp_path, url))
    assert asked_digest(workspace(tmp_path, "https://embed.example/v1", ", batch: 7")) == found
    assert asked_digest(workspace(tmp_path, url, ", raw_text: true")) != found
