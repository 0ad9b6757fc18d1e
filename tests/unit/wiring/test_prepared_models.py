"""Models that an image brings along."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigError
from router.wiring.prepared_models import VARIABLE, take_prepared


def prepared(folder: Path) -> Path:
    model = folder / "prepared" / "0ab1" / "c0ffee"
    model.mkdir(parents=True)
    (model / "head.npz").write_bytes(b"weights")
    (folder / "prepared" / "by-digest").mkdir()
    (folder / "prepared" / "by-digest" / "c0ffee.report.json").write_text("{}", encoding="utf-8")
    return folder / "prepared"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_the_state_lacks_is_taken_over(tmp_path: Path) -> None:
    """Folders and files under their own names, and nothing beside them."""
    take_prepared(tmp_path / "models", {VARIABLE: str(prepared(tmp_path))})
    assert files(tmp_path / "models") == {"0ab1/c0ffee/head.npz", "by-digest/c0ffee.report.json"}


def test_what_is_there_is_left(tmp_path: Path) -> None:
    """A model that was trained here is not replaced, and a second start copies nothing."""
    here = tmp_path / "models" / "0ab1" / "c0ffee"
    here.mkdir(parents=True)
    (here / "head.npz").write_bytes(b"our own")
    for _ in range(2):
        take_prepared(
            tmp_path / "models", {VARIABLE: str(prepared(tmp_path) if not (tmp_path / "prepared").exists() else tmp_path / "prepared")}
        )
    assert (here / "head.npz").read_bytes() == b"our own"


def test_what_tells_languages_apart_stays_where_it_is(tmp_path: Path) -> None:
    """It is mapped from there, and fifty megabytes are not copied into each state."""
    kept = prepared(tmp_path) / "languages" / "0ab1.arrays"
    kept.parent.mkdir()
    kept.write_bytes(b"arrays")
    take_prepared(tmp_path / "models", {VARIABLE: str(tmp_path / "prepared")})
    assert files(tmp_path / "models") == {"0ab1/c0ffee/head.npz", "by-digest/c0ffee.report.json"}


def test_a_copy_that_was_broken_off_is_no_model(tmp_path: Path) -> None:
    """What a crash left half-done has a hidden name, which nobody takes for a model, and the next start takes over the whole."""
    half = tmp_path / "models" / "0ab1" / ".c0ffee.7"
    half.mkdir(parents=True)
    take_prepared(tmp_path / "models", {VARIABLE: str(prepared(tmp_path))})
    assert [path.name for path in (tmp_path / "models" / "0ab1").glob("[0-9a-f]*")] == ["c0ffee"]


def test_nothing_is_prepared_where_nothing_is_named(tmp_path: Path) -> None:
    """Without the variable nothing is made."""
    take_prepared(tmp_path / "models", {})
    assert not (tmp_path / "models").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A misspelt place is one sentence and not a silent training."""
    with pytest.raises(ConfigError, match=r"LOCKGATE_MODELS names .*nowhere, which is no folder"):
        take_prepared(tmp_path / "models", {VARIABLE: str(tmp_path / "nowhere")})


def test_a_state_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The same where there is no room, or a file is in the way."""
    (tmp_path / "models").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be taken over"):
        take_prepared(tmp_path / "models", {VARIABLE: str(prepared(tmp_path))})
