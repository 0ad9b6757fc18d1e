"""One ledger, killed at random over and over, each time at another moment of its life: opening, writing, signing, closing.

Writers are forked from one that has everything loaded, so that a life costs milliseconds. `LOCKGATE_SOAK` says how many lives the long form
has. On a machine that has other things to do too many lives end before they wrote: then there are more of them.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import latest_published
from tests.unit.audit.ledgers import SIGNER, records_of, verified

SHORT, LONG = 60, int(os.environ.get("LOCKGATE_SOAK", "3000"))
LONGEST_LIFE_S = 0.06
VERIFIED_EVERY = 100
MOST_TIMES = 5


@dataclass(frozen=True, slots=True)
class Acknowledged:
    index: int
    marks: tuple[str, ...]


def journal(folder: Path) -> Journal:
    return Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints", 3600, 16))


def live(folder: Path, life: int, said: int) -> None:
    """Until it is killed, or has closed the ledger in order; tells of each batch by one short line, which a pipe takes whole."""
    made, chance = journal(folder), random.Random(life)
    made.open()
    for number in range(chance.randrange(40)):
        marks = [f"{life}.{number}.{place}" for place in range(chance.randrange(1, 9))]
        index = made.append([system_entry("started", life, {"mark": mark}) for mark in marks])
        os.write(said, f"{index} {' '.join(marks)}\n".encode())
        if made.until_checkpoint() == 0.0:
            made.sign_checkpoint()
    made.close()


def killed(folder: Path, life: int, chance: random.Random) -> list[Acknowledged]:
    listening, said = os.pipe()
    writer = multiprocessing.get_context("fork").Process(target=live, args=(folder, life, said))
    writer.start()
    os.close(said)
    time.sleep(chance.random() * LONGEST_LIFE_S)
    if writer.pid is not None:
        os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with os.fdopen(listening, "rb") as heard:
        lines = heard.read().decode().split("\n")[:-1]
    writer.close()
    return [Acknowledged(int(index), tuple(marks)) for index, *marks in (line.split(" ") for line in lines)]


def soak(folder: Path, lives: int, seed: int) -> Iterator[list[Acknowledged]]:
    """All that was acknowledged so far, from time to time: for so many lives, until on average each of them wrote more than once."""
    chance, acknowledged = random.Random(seed), list[Acknowledged]()
    for life in range(lives * MOST_TIMES):
        acknowledged += killed(folder, life, chance)
        done = life >= lives - 1 and len(acknowledged) > lives
        if life % VERIFIED_EVERY == VERIFIED_EVERY - 1 or done:
            yield acknowledged
        if done:
            return


def check(folder: Path, acknowledged: list[Acknowledged], seed: int) -> None:
    made = journal(folder)
    made.open()
    made.close()
    leaves = [leaf for leaf, _, _ in records_of(folder)]
    for each in acknowledged:
        for place, mark in enumerate(each.marks):
            assert f'"mark":"{mark}"'.encode() in leaves[each.index + place], (seed, each)
    assert len(set(leaves)) == len(leaves), seed
    report = verified(folder, latest_published(folder / "checkpoints"))
    assert report.ok, (seed, report.faults)


def run(folder: Path, lives: int) -> int:
    seed = random.SystemRandom().randrange(2**32)
    total = 0
    for acknowledged in soak(folder, lives, seed):
        check(folder, acknowledged, seed)
        total = len(acknowledged)
    return total


def test_a_few_dozen_random_kills_cost_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Each life goes on where the last one was cut off."""
    assert run(tmp_path, SHORT) > SHORT


@pytest.mark.slow
def test_thousands_of_random_kills_cost_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The same, long."""
    assert run(tmp_path, LONG) > LONG
