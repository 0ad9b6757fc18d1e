import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from embeddings.errors import EmbeddingsError
from embeddings.minilm import load_minilm, minilm_directory
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.sentence_transformers_encoder import SentenceTransformersEncoder


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the installed encoder that a test may damage."""
    return Path(shutil.copytree(minilm_directory(), tmp_path / "encoder"))


def refused(directory: Path) -> str:
    with pytest.raises(EmbeddingsError) as caught:
        OnnxEncoder(directory)
    return caught.value.code


def test_the_installed_wheel_loads() -> None:
    """The wheel's manifest, digests and graph are in order."""
    encoder = load_minilm()
    assert (encoder.name, encoder.dimensions, encoder.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)


def test_texts_are_not_padded() -> None:
    """A short text has as many ids as it has tokens, not the 128 of the original file."""
    assert len(load_minilm().token_ids("reset my password")) == 5


def test_padding_in_the_file_is_switched_off(copied: Path) -> None:
    """Even a tokenizer file that asks for padding gives unpadded ids."""
    tokenizer = Tokenizer.from_file(str(copied / "tokenizer.json"))
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(copied / "tokenizer.json"))
    restate_digest(copied, "tokenizer.json")
    assert len(OnnxEncoder(copied).token_ids("reset my password")) == 5


def test_long_texts_are_truncated() -> None:
    """No more than max_tokens ids reach the graph, the closing one included."""
    ids = load_minilm().token_ids("pay " * 1000)
    assert len(ids) == 256
    assert ids[-1] == 102


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "LICENSE"])
def test_an_altered_file_is_refused(copied: Path, name: str) -> None:
    """Every file the manifest names is checked before anything is loaded."""
    with (copied / name).open("ab") as file:
        file.write(b" ")
    assert refused(copied) == "encoder_altered"


def test_a_missing_file_is_named(copied: Path) -> None:
    """A file that is gone gets one sentence with its path."""
    (copied / "model.onnx").unlink()
    with pytest.raises(EmbeddingsError, match=r"model\.onnx cannot be read"):
        OnnxEncoder(copied)


def test_a_directory_without_manifest_is_named(tmp_path: Path) -> None:
    """An empty directory is no encoder."""
    assert refused(tmp_path) == "encoder_missing"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"schema": 9}', b'{"schema": 1, "files": {"../x": "0"}, "name": "a", "dimensions": 1, "max_tokens": 1}'],
    ids=["empty", "a list", "no fields", "unknown schema", "a path"],
)
def test_a_malformed_manifest_is_refused(copied: Path, content: bytes) -> None:
    """Anything but a manifest, and any name that leaves the directory, is an error."""
    (copied / "manifest.json").write_bytes(content)
    assert refused(copied) == "encoder_manifest"


def test_a_pinned_digest_covers_what_it_was_tuned_for(copied: Path) -> None:
    """Without that mark a model would be calibrated on texts that the encoder has seen."""
    manifest = json.loads((copied / "manifest.json").read_text())
    before = OnnxEncoder(copied).digest
    (copied / "manifest.json").write_text(json.dumps({**manifest, "fine_tuned": {"examples": "sha256:e"}}))
    assert OnnxEncoder(copied).digest != before


@pytest.mark.parametrize(("said", "known"), [({}, {"en"}), ({"languages": ["de", "en"]}, {"de", "en"})])
def test_the_manifest_says_which_languages_it_knows(copied: Path, said: dict[str, object], known: set[str]) -> None:
    """English where it does not say. A digest that somebody pinned covers it: what is classified at all hangs on it."""
    manifest = json.loads((copied / "manifest.json").read_text())
    before = OnnxEncoder(copied).digest
    (copied / "manifest.json").write_text(json.dumps({**manifest, **said}))
    encoder = OnnxEncoder(copied)
    assert (encoder.languages, encoder.digest == before) == (known, not said)


@pytest.mark.parametrize("languages", ["en", [], [1], None])
def test_languages_that_are_no_list_of_codes_are_refused(copied: Path, languages: object) -> None:
    """A manifest that is not understood knows nothing."""
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "languages": languages}))
    assert refused(copied) == "encoder_manifest"


def test_the_manifests_prefix_stands_before_every_text(copied: Path) -> None:
    """As if it had been written there; and it is a part of the digest, since it decides the vectors."""
    plain = load_minilm()
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "prefix": "query: "}))
    encoder = OnnxEncoder(copied)
    assert encoder.token_ids("reset my password") == plain.token_ids("query: reset my password")
    assert encoder.digest != plain.digest
    assert len(encoder.token_ids("pay " * 1000)) == 256


@pytest.mark.parametrize("prefix", [1, None, ["query: "]])
def test_a_prefix_that_is_no_text_is_refused(copied: Path, prefix: object) -> None:
    """Vectors of other texts than the examples' would be no use."""
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "prefix": prefix}))
    assert refused(copied) == "encoder_manifest"


def test_a_graph_that_does_not_load_is_refused(copied: Path) -> None:
    """Bytes that are no ONNX graph give a named error, not a traceback of the runtime."""
    (copied / "model.onnx").write_bytes(b"not a graph")
    restate_digest(copied, "model.onnx")
    assert refused(copied) == "encoder_model"


def test_dimensions_must_be_what_the_graph_gives(copied: Path) -> None:
    """A manifest that promises other dimensions is refused."""
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "dimensions": 128}))
    assert refused(copied) == "encoder_shape"


def test_the_whole_encoder_can_be_pinned() -> None:
    """A digest given in the configuration must be the encoder's."""
    assert load_minilm(expected_digest=load_minilm().digest).dimensions == 384
    with pytest.raises(EmbeddingsError) as caught:
        load_minilm(expected_digest="sha256:" + "0" * 64)
    assert caught.value.code == "encoder_digest"


def test_a_missing_wheel_says_what_to_run() -> None:
    """Without the model's package the error names make model."""
    with pytest.raises(EmbeddingsError, match="make model"):
        minilm_directory("lockgate_no_such_model")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sentence-transformers the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # the documented way to hide a package
    with pytest.raises(EmbeddingsError, match=r"lockgate\[sentence-transformers\]") as caught:
        SentenceTransformersEncoder("some/model")
    assert caught.value.code == "extra_missing"


def restate_digest(directory: Path, name: str) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest))
