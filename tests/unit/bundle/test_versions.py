"""The versions of the policies on a disk: what decides is never guessed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from router.bundle.versions import ARCHIVES, IN_FORCE, LISTED, MOST_KEPT, Override, Version, Versions
from router.errors import BundleError, StateError

CONTENT = b"policies"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OVERRIDE = Override(DIGEST, "promoted", "r1", 1, "0" * 64, 7)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path)


def version(number: int, archive: str = DIGEST) -> Version:
    return Version(archive, f"{number:064x}", f"r{number}", number, number, "workspace")


def test_nothing_is_in_force_over_a_new_workspace(versions: Versions) -> None:
    """And nothing is made by looking."""
    assert versions.override() is None
    assert versions.listed() == []
    assert not versions.folder.exists()


def test_what_is_put_in_force_is_found_by_who_comes_later(versions: Versions, tmp_path: Path) -> None:
    """Until it is released."""
    versions.put_in_force(OVERRIDE)
    assert Versions(tmp_path).override() == OVERRIDE
    versions.release()
    assert Versions(tmp_path).override() is None
    versions.release()


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"archive": 1}', '{"archive": "a", "more": 1}', "[" * 100_000])
def test_an_override_that_cannot_be_read_bars_everything(versions: Versions, content: str) -> None:
    """Without it something else would decide."""
    versions.put_in_force(OVERRIDE)
    (versions.folder / IN_FORCE).write_text(content)
    with pytest.raises(BundleError, match="cannot be read"):
        versions.override()


@pytest.mark.parametrize("name", ["archive", "why", "record", "over"])
@pytest.mark.parametrize("value", [None, 7, ["a"]])
def test_an_override_with_values_of_another_kind_cannot_be_read(versions: Versions, name: str, value: object) -> None:
    """It would fail later, where nobody expects it."""
    versions.put_in_force(replace(OVERRIDE, **{name: value}))  # type: ignore[arg-type]  # what a hand wrote
    with pytest.raises(BundleError, match="cannot be read"):
        versions.override()


def test_an_archive_is_what_it_was_or_nothing(versions: Versions) -> None:
    """Who changes the file changes no policies."""
    assert versions.keep_archive(CONTENT) == DIGEST
    assert versions.archive(DIGEST) == CONTENT
    (versions.folder / ARCHIVES / f"{DIGEST}.tar.gz").write_bytes(b"others")
    with pytest.raises(BundleError, match="is not the version of the policies that its name says"):
        versions.archive(DIGEST)


def test_an_archive_that_was_damaged_is_put_right_when_it_is_kept_again(versions: Versions) -> None:
    """Its name says what has to be in it."""
    versions.keep_archive(CONTENT)
    (versions.folder / ARCHIVES / f"{DIGEST}.tar.gz").write_bytes(b"cut o")
    versions.keep_archive(CONTENT)
    assert versions.archive(DIGEST) == CONTENT


@pytest.mark.parametrize("name", ["", "../in_force.json", "A" * 64, "a" * 63, "a" * 65, "/" * 64, "a" * 63 + "\n"])
def test_what_is_no_digest_names_no_file(versions: Versions, name: str) -> None:
    """Wherever it came from."""
    with pytest.raises(BundleError, match="64 hexadecimal digits"):
        versions.archive(name)


def test_an_archive_that_is_gone_is_said(versions: Versions) -> None:
    """With the file that has to be restored."""
    with pytest.raises(BundleError, match=rf"{DIGEST}\.tar\.gz .*cannot be read"):
        versions.archive(DIGEST)


def test_the_newest_comes_first(versions: Versions) -> None:
    """Each time that one came into force is there."""
    versions.keep_archive(CONTENT)
    for number in (1, 2, 1):
        versions.came_into_force(version(number))
    assert [each.revision for each in versions.listed()] == ["r1", "r2", "r1"]


def test_the_oldest_are_forgotten_with_their_archives_unless_somebody_wants_them(versions: Versions) -> None:
    """Of what was in force a hundred times not all can be kept."""
    wanted = versions.keep_archive(b"wanted")
    archives = []
    for number in range(MOST_KEPT + 5):
        archives.append(versions.keep_archive(b"%d" % number))
        versions.came_into_force(version(number, archives[-1]), [wanted])
    assert [each.revision for each in versions.listed()] == [f"r{number}" for number in range(MOST_KEPT + 4, 4, -1)]
    kept = {path.name.removesuffix(".tar.gz") for path in (versions.folder / ARCHIVES).iterdir()}
    assert kept == {*archives[5:], wanted}


@pytest.mark.parametrize("content", ["", "{}x", '[{"archive": "a"}]', "[1]", "7", '{"a": 1}'])
def test_a_list_that_cannot_be_read_is_said_and_not_begun_anew(versions: Versions, content: str) -> None:
    """Whoever damaged it would have removed what one can go back to."""
    versions.keep_archive(CONTENT)
    versions.came_into_force(version(1))
    (versions.folder / LISTED).write_text(content)
    with pytest.raises(BundleError, match="restore it"):
        versions.listed()
    with pytest.raises(BundleError, match="restore it"):
        versions.came_into_force(version(2))
    assert versions.archive(DIGEST) == CONTENT


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    """In one sentence each."""
    (tmp_path / "policies").write_text("a file")
    versions = Versions(tmp_path)
    for attempt in (lambda: versions.put_in_force(OVERRIDE), lambda: versions.keep_archive(CONTENT)):
        with pytest.raises(StateError, match="cannot be written"):
            attempt()
