import json
from pathlib import Path

import pytest

from model.install import MULTILINGUAL_INPUTS, ROOT, is_current, multilingual_inputs


def test_what_other_code_made_is_made_anew(tmp_path: Path) -> None:
    """A directory counts only while the code that decides its content is the same."""
    assert not is_current(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": multilingual_inputs()}))
    assert is_current(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": "0"}))
    assert not is_current(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense"])
def test_a_damaged_manifest_is_none(tmp_path: Path, content: str) -> None:
    """It is made anew, rather than a traceback."""
    (tmp_path / "manifest.json").write_text(content)
    assert not is_current(tmp_path)


def test_the_inputs_are_there() -> None:
    """Every file that is named is in the repository."""
    assert [name for name in MULTILINGUAL_INPUTS if not (ROOT / name).is_file()] == []
