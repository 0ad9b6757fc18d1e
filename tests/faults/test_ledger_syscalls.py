"""The real process under strace, which makes system calls on the ledger's files fail, or kills the process on its way into one.

Every call of every kind is broken in turn in the long form (`make faults`); the short form takes some of each. strace counts for itself, so
`when=N` names exactly one call of a process whose life is always the same.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import latest_published
from router.audit.tree.merkle import CompactRange, leaf_hash
from tests.faults.ledger_script import batches, journal
from tests.needs import needs_program
from tests.unit.audit.ledgers import records_of, verified

ROOT = Path(__file__).parents[2]
CALLS = ("openat", "pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink")
OPEN_FAILED = ("audit_io_failed", "audit_disk_full", "audit_tree_broken")
SHORT = 4


@pytest.fixture(autouse=True, scope="module")
def _strace() -> None:
    needs_program("strace", "apt-get install strace")
    with TemporaryDirectory() as folder:
        if strace(Path(folder), "-e", "trace=openat").returncode:
            pytest.skip("strace may not trace here")


def paths(folder: Path) -> list[Path]:
    checkpoints = folder / "checkpoints"
    names = [f"{size:016d}.{kind}" for size in (4, 10) for kind in ("draft", "checkpoint")]
    files = [folder / f"ledger.sqlite{suffix}" for suffix in ("", "-wal", "-journal", ".lock")]
    return [folder, checkpoints, *files, *(checkpoints / name for name in names)]


def strace(folder: Path, *what: str) -> subprocess.CompletedProcess[str]:
    only = [argument for path in paths(folder) for argument in ("-P", str(path))]
    script = [sys.executable, "-m", "tests.faults.ledger_script", str(folder)]
    command = ["strace", "-qqq", "-o", str(folder / "trace"), *only, *what, *script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@cache
def whole_life() -> Counter[str]:
    """How many calls of each kind a life without faults makes."""
    with TemporaryDirectory() as folder:
        done = strace(Path(folder), "-e", f"trace={','.join(CALLS)}")
        assert done.stdout.splitlines()[-1:] == ["closed"], done.stderr
        return Counter(line.partition("(")[0] for line in (Path(folder) / "trace").read_text().splitlines())


def hold(folder: Path, said: Sequence[str]) -> None:
    """Whatever was acknowledged is there at its index, nothing is there twice, the tree is that of the leaves, and it goes on."""
    (folder / "trace").unlink(missing_ok=True)
    made = journal(folder)
    made.open()
    leaves, tree = [leaf for leaf, _, _ in records_of(folder)], CompactRange()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    assert (made.size, made.root()) == (tree.size, tree.root())
    for line, batch in zip([line for line in said if line[0].isdigit() or "refused" in line], batches(), strict=False):
        if line[0].isdigit():
            first, count = map(int, line.split())
            assert leaves[first : first + count] == [entry.leaf for entry in batch]
    assert len(set(leaves)) == len(leaves)
    made.append([system_entry("recovered", 1)])
    made.close()
    assert verified(folder, latest_published(folder / "checkpoints")).ok


def chosen(call: str, every: bool) -> list[int]:
    """Numbers of calls from 1; in the short form some, first and last among them."""
    count = whole_life()[call]
    return (
        list(range(1, count + 1)) if every or count <= SHORT else [1 + round(place * (count - 1) / (SHORT - 1)) for place in range(SHORT)]
    )


def broken(folder: Path, call: str, number: int, how: str) -> list[str]:
    done = strace(folder, "-e", f"trace={call}", "-e", f"inject={call}:{how}:when={number}")
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def break_each(folder: Path, call: str, how: str, every: bool) -> None:
    for number in chosen(call, every):
        place = folder / f"{number}"
        place.mkdir()
        said = broken(place, call, number, how)
        if how.startswith("error"):
            assert {line.split()[1] for line in said if line.startswith("refused")} <= set(OPEN_FAILED), (number, said)
        if how == "error=EIO" and call in ("pwrite64", "fdatasync"):
            after = dropwhile(lambda line: not line.startswith("refused"), said)
            assert all(line.startswith("refused") or line == "closed" for line in after), (number, said)
        hold(place, said)
        shutil.rmtree(place)


HOW = ("error=EIO", "error=ENOSPC", "signal=KILL")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("call", CALLS)
def test_a_system_call_that_breaks_costs_nothing_that_was_acknowledged(tmp_path: Path, call: str, how: str) -> None:
    """Some of the calls that change the ledger's files; refusals have a known code; after a failed write or sync nothing is accepted."""
    break_each(tmp_path, call, how, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("call", CALLS)
def test_no_system_call_that_breaks_costs_anything_that_was_acknowledged(tmp_path: Path, call: str, how: str) -> None:
    """As above, every single call."""
    break_each(tmp_path, call, how, every=True)


def test_the_process_makes_calls_of_most_kinds() -> None:
    """The tests above would say nothing of a process that hardly writes."""
    life = whole_life()
    assert {"openat", "pwrite64", "write", "fdatasync", "fsync", "rename"} <= set(life)
    assert (life["pwrite64"] > 40, life["fdatasync"] > 8) == (True, True)
