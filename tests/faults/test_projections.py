"""Projections that are killed, or whose writes fail, at any moment: no hole and no double once they go on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.errors import AuditError
from tests.contract.test_projections import duck, follow, parquet, query, rows, truth, wrong
from tests.unit.audit.ledgers import entries, written

ROOT = Path(__file__).parents[2]
MAKERS: dict[str, Callable[[Path], Any]] = {"parquet": parquet, "duckdb": duck}


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_killed_follower_leaves_neither_hole_nor_double(tmp_path: Path, kind: str) -> None:
    """`kill -9` again and again, in batches and in resets; what counts as complete is right each time, and the rest follows."""
    written(tmp_path, entries(60))
    chance = random.Random(7)
    for _ in range(6):
        command = [sys.executable, "-m", "tests.faults.projection_follower", str(tmp_path), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as follower:
            assert follower.stdout is not None
            for _ in range(chance.randrange(1, 30)):
                assert follower.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            follower.send_signal(signal.SIGKILL)
        assert wrong(tmp_path, MAKERS[kind](tmp_path)) == []
        complete = MAKERS[kind](tmp_path).complete()[1]
        there = [row for row in rows(tmp_path, MAKERS[kind](tmp_path)) if row[0] < complete] if complete else []
        assert there == truth(tmp_path)[:complete]
    assert follow(tmp_path, MAKERS[kind](tmp_path)) == 60
    assert rows(tmp_path, MAKERS[kind](tmp_path)) == truth(tmp_path)
    assert wrong(tmp_path, MAKERS[kind](tmp_path)) == []


class Breaking:
    """The call of that number fails, before its effect or after it; and all that follow, as in a process that ended."""

    def __init__(self, number: int, after: bool) -> None:
        self._left, self._after, self.broke = number, after, False

    def __call__(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if self.broke:
                raise OSError(5, "gone")
            self._left -= 1
            if self._left > 0:
                return real(*arguments, **more)
            self.broke = True
            if self._after:
                real(*arguments, **more)
            raise OSError(5, "broken")

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", ["extend", "reset"])
def test_every_write_to_parquet_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, after: bool) -> None:
    """Each fsync, rename and removal in turn, broken before and after it has its effect."""
    written(tmp_path, entries(25))
    number, broke = 0, True
    while broke:
        number += 1
        folder = tmp_path / f"{number}"
        folder.mkdir()
        os.link(tmp_path / "ledger.sqlite", folder / "ledger.sqlite")
        projection = parquet(folder)
        projection.batch = 10
        follow(folder, projection, steps=1)
        breaking = Breaking(number, after)
        with monkeypatch.context() as patched:
            for name in ("fsync", "replace", "unlink"):
                patched.setattr(os, name, breaking(getattr(os, name)))
            try:
                follow(folder, projection, steps=1) if what == "extend" else projection.reset()
            except AuditError as error:
                assert error.code == "projection_unavailable"  # noqa: PT017 - whether it is raised depends on the number
        broke = breaking.broke
        complete = parquet(folder).complete()[1]
        assert complete in ((10, 20) if what == "extend" else (0, 10))
        assert wrong(folder, parquet(folder)) == []
        assert follow(folder, projection) == 25
        assert rows(folder, parquet(folder)) == truth(tmp_path)
        assert wrong(folder, parquet(folder)) == []
    assert number > 5
    assert query(folder, parquet(folder), "SELECT count(*) FROM records") == [(25,)]
