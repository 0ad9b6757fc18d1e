"""No bundle comes after a newer one, whoever restarts in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.bundle.content import Bundle, read_bundle
from router.bundle.standing import FILE, accept, accepted, check_newer
from router.errors import BundleError, StateError
from tests.unit.bundle.making import files


def numbered(sequence: int | None, digest: str = "a") -> Bundle:
    return replace(read_bundle(files()), sequence=sequence, digest=digest)


def test_what_was_accepted_is_remembered(tmp_path: Path) -> None:
    """On disk, in a folder that is made for it."""
    assert accepted(tmp_path / "bundles") is None
    accept(tmp_path / "bundles", numbered(7))
    found = accepted(tmp_path / "bundles")
    assert found is not None
    assert (found.sequence, found.digest) == (7, "a")


@pytest.mark.parametrize("taken", [numbered(7), numbered(8), numbered(8, "b")])
def test_the_same_and_newer_ones_may_come(tmp_path: Path, taken: Bundle) -> None:
    """Also the same policies under a higher number."""
    accept(tmp_path, numbered(7))
    check_newer(taken, accepted(tmp_path))


@pytest.mark.parametrize("refused", [numbered(6), numbered(None), numbered(7, "b")])
def test_older_ones_and_another_of_the_same_number_may_not(tmp_path: Path, refused: Bundle) -> None:
    """One without a number is older than all that have one."""
    accept(tmp_path, numbered(7))
    with pytest.raises(BundleError) as caught:
        check_newer(refused, accepted(tmp_path))
    assert caught.value.code == "bundle_rolled_back"


def test_bundles_without_numbers_may_follow_one_another(tmp_path: Path) -> None:
    """OPA's own have none, and nothing is remembered of them."""
    accept(tmp_path, numbered(None))
    check_newer(numbered(None, "b"), accepted(tmp_path))


@pytest.mark.parametrize("content", ["", "{}", '{"sequence": "7", "digest": "a"}', "[]"])
def test_a_note_that_cannot_be_read_bars_everything(tmp_path: Path, content: str) -> None:
    """Who could damage it could otherwise bring an older one back."""
    (tmp_path / FILE).write_text(content)
    with pytest.raises(BundleError, match="does not say which bundle was last in force"):
        accepted(tmp_path)


def test_a_note_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """In one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        accept(tmp_path / "file/below", numbered(7))
