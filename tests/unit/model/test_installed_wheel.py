import hashlib
import json
from pathlib import Path

import pytest

from embeddings.minilm import minilm_directory
from model import source

EXPECTED = Path(source.__file__).parent


@pytest.fixture(scope="module")
def manifest() -> dict[str, object]:
    content: dict[str, object] = json.loads((minilm_directory() / "manifest.json").read_text())
    return content


def test_the_manifest_says_where_the_weights_came_from(manifest: dict[str, object]) -> None:
    """Package, version and both digests of the source are stated as pinned."""
    assert manifest["source"] == {
        "package": source.PACKAGE,
        "version": source.VERSION,
        "wheel_sha256": source.WHEEL_SHA256,
        "weights_sha256": source.WEIGHTS_SHA256,
    }


def test_the_installed_licences_are_the_repositorys(manifest: dict[str, object]) -> None:
    """The licence and notice that ship are the ones in the builder's folder."""
    files = manifest["files"]
    assert isinstance(files, dict)
    for shipped, origin in (("LICENSE", "LICENSE.apache-2.0"), ("NOTICE", "NOTICE")):
        assert files[shipped] == hashlib.sha256((EXPECTED / origin).read_bytes()).hexdigest()


def test_the_tokenizer_neither_pads_nor_truncates() -> None:
    """The settings that made a short text ten times dearer are gone from the file itself."""
    tokenizer = json.loads((minilm_directory() / "tokenizer.json").read_text())
    assert tokenizer["padding"] is None
    assert tokenizer["truncation"] is None
