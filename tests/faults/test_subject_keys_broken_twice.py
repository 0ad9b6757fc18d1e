"""The subjects' keys on a disk that fails: a key that was handed out may have sealed something, so it must be there for good."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.store import SubjectKey
from router.errors import AuditError
from tests.faults.lossy_files import ApswConnection, Break, Disk, LossyFiles, image_of

SEALING_KEY = bytes(32)
ASKED = (["ann"], ["bob", "cem"], ["ann", "dora"], ["eve"])


@dataclass
class Run:
    folder: Path
    disk: Disk
    given: dict[str, SubjectKey] = field(default_factory=dict)


def lived(folder: Path, broken: Break | None) -> Run:
    folder.mkdir()
    run = Run(folder, Disk(breaking=broken))
    files = LossyFiles(run.disk, f"keys-{id(run)}")
    keys = KeyFile(folder / "keys.sqlite", SEALING_KEY, lambda path: ApswConnection(path, files.name))
    with suppress(AuditError):
        keys.open()
        for subjects in ASKED:
            with suppress(AuditError):
                run.given |= keys.ensure(subjects)
    with suppress(AuditError, apsw.Error):
        keys.close()
    files.unregister()
    return run


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "failed but persisted"])
@pytest.mark.parametrize("power_lost", [False, True], ids=["killed", "power lost"])
def test_a_key_that_was_handed_out_is_there_for_good(tmp_path: Path, persisted: bool, power_lost: bool) -> None:
    """Whatever operation breaks; and nobody has a second key."""
    count = len(lived(tmp_path / "whole", None).disk.operations)
    for at in range(count):
        run = lived(tmp_path / f"{at}", Break(at, persisted=persisted))
        image = image_of(run.disk, run.folder, tmp_path / f"{at}-after", power_lost=power_lost)
        again = KeyFile(image / "keys.sqlite", SEALING_KEY)
        again.open()
        assert again.ensure(list(run.given)) == run.given
        assert {subject: again.find(subject) for subject in run.given} == {subject: key_id for subject, (key_id, _) in run.given.items()}
        again.close()


def test_without_faults_everybody_gets_a_key(tmp_path: Path) -> None:
    """The test above would say nothing of keys that were never handed out."""
    run = lived(tmp_path / "whole", None)
    assert sorted(run.given) == ["ann", "bob", "cem", "dora", "eve"]
    assert run.disk.operations.count("sync") >= len(ASKED)
