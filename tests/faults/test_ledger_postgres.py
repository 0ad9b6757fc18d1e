"""Nodes that are killed, sessions that are ended, servers that stop as if the power had failed, and standbys that take over: real processes
on a real server. Afterwards what was acknowledged is in the ledger, once, at its index, and the whole verifies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.connection import Server
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.reader import PostgresReader
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import latest_published
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.errors import AuditError
from tests.e2e.running import cli
from tests.postgres_server import PostgresServer, made, running
from tests.unit.audit.ledgers import SIGNER, entries

ROOT = Path(__file__).parents[2]
APART = 1_000_000


@dataclass
class Nodes:
    """Writers by place. `outputs` are all that were ever started, `live` those that run now, by place as well."""

    url: str
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    live: list[Path] = field(default_factory=list)

    def start(self, place: int | None = None) -> None:
        output = self.folder / f"{len(self.outputs)}.out"
        command = [sys.executable, "-m", "tests.faults.postgres_writer", self.url, str(len(self.outputs) * APART)]
        with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.outputs.append(output)
        if place is None:
            self.processes.append(process)
            self.live.append(output)
        else:
            self.processes[place], self.live[place] = process, output

    def kill(self, place: int) -> None:
        self.processes[place].send_signal(signal.SIGKILL)
        self.processes[place].wait()

    def acknowledged(self) -> dict[int, str]:
        """Decision by index. No two were told the same index."""
        whole = [line.split() for output in self.outputs for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
        assert max(Counter(index for index, _ in whole).values()) == 1
        return {int(index): decision for index, decision in whole}

    def until_more(self, more: int = 100) -> None:
        """All of them run and say so many more."""
        enough = [lines(output) + more for output in self.live]

        def all_went_on() -> bool | None:
            assert [process.poll() for process in self.processes] == [None] * len(self.processes), self.errors()
            return True if all(lines(output) >= wanted for output, wanted in zip(self.live, enough, strict=True)) else None

        PostgresServer.until(all_went_on, f"each node had {more} more; they said:\n{self.errors()}", 60)

    def errors(self) -> str:
        return "\n".join(output.with_suffix(".err").read_text() for output in self.outputs)


def lines(output: Path) -> int:
    return output.read_bytes().count(b"\n")


@contextmanager
def nodes(url: str, folder: Path, count: int) -> Iterator[Nodes]:
    store = PostgresStore(Server(url), SIGNER.verifier)
    store.open("ledger.test")
    store.close()
    found = Nodes(url, folder)
    try:
        for _ in range(count):
            found.start()
        found.until_more()
        yield found
    finally:
        for process in found.processes:
            process.kill()
            process.wait()


def assert_whole(url: str, acknowledged: dict[int, str]) -> None:
    reader = PostgresReader(Server(url), Stored)
    size, root = reader.last_commit()
    leaves = {stored.index: stored.leaf for stored in reader.records(0, size)}
    reader.close()
    assert list(leaves) == list(range(size))
    ids = [json.loads(leaf)["id"] for leaf in leaves.values()]
    assert len(set(ids)) == len(ids), "a record is there twice"
    assert {index: ids[index] for index in acknowledged} == acknowledged
    tree = CompactRange()
    for leaf in leaves.values():
        tree.append(leaf_hash(leaf))
    assert tree.root() == root
    report = verify(Plan(partial(PostgresReader, Server(url), Stored), SIGNER.verifier, processes=1))
    assert report.ok, report.faults
    assert report.held_against


def end_a_session(url: str, chance: random.Random) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        others = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        pids = [pid for (pid,) in connection.execute(others).fetchall()]
        if pids:
            connection.execute("SELECT pg_terminate_backend(%s)", (chance.choice(pids),))


def lose_power(server: PostgresServer) -> None:
    server.stop(at_once=True)
    server.start()


def test_killed_nodes_ended_sessions_and_a_lost_server(tmp_path: Path) -> None:
    """Two nodes under load: sessions ended in any state, a node killed, the server stopped in the middle. The others go on each time."""
    chance = random.Random(4)
    with running() as server:
        with nodes(server.url(), tmp_path, 2) as both:
            for _ in range(5):
                end_a_session(server.url(), chance)
                time.sleep(0.1)
            both.until_more()
            lose_power(server)
            both.until_more()
            both.kill(0)
            both.start(0)
            both.until_more()
        assert_whole(server.url(), both.acknowledged())
        done = cli("audit", "verify", "--key", SIGNER.verifier, folder=tmp_path, LOCKGATE_STORE=server.url())
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_three_nodes_through_one_fault_after_the_other(tmp_path: Path, seed: int) -> None:
    """Forty faults in random order and at random moments."""
    chance = random.Random(seed)
    with running() as server:
        with nodes(server.url(), tmp_path, 3) as three:
            for _ in range(40):
                time.sleep(chance.random() * 0.5)
                fault = chance.choice(["session", "session", "session", "node", "node", "server"])
                if fault == "session":
                    end_a_session(server.url(), chance)
                elif fault == "server":
                    lose_power(server)
                else:
                    place = chance.randrange(3)
                    three.kill(place)
                    three.start(place)
            three.until_more()
        assert_whole(server.url(), three.acknowledged())


@contextmanager
def pair() -> Iterator[tuple[PostgresServer, PostgresServer, str]]:
    """A server, its synchronous standby, and the URL that names both."""
    with running(wal_keep_size="64MB") as first, made() as second:
        first.copy_to(second, "standby")
        second.start()
        first.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        PostgresServer.until(lambda: True if first.sql(state) == "sync" else None, "the standby was synchronous")
        yield (
            first,
            second,
            f"postgresql://postgres@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres?target_session_attrs=read-write",
        )


def test_a_promoted_standby_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    """The server dies under load, its synchronous standby takes over: both nodes go on there by themselves, and nothing acknowledged on
    either server is missing or there twice."""
    with pair() as (first, second, url):
        with nodes(url, tmp_path, 2) as both:
            first.stop(at_once=True)
            second.sql("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
            second.promote()
            both.until_more()
        assert_whole(second.url(), both.acknowledged())


@pytest.mark.slow
def test_a_standby_that_does_not_answer_stops_the_ledger_and_nothing_is_half_true(tmp_path: Path) -> None:
    """Without its standby no commit is acknowledged: unsettled, then unavailable. Once the standby is back the ledger goes on after what
    had been committed, nothing is there twice, and who tries again what was unsettled is told where it stands."""
    with pair() as (first, second, _):
        server = Server(first.url(), answer_within=2.0)
        journal = opened(server, patience=0.5, folder=tmp_path)
        made_entries = entries(12)
        journal.append(made_entries[:4])
        second.stop(at_once=True)
        assert code_of(lambda: journal.append(made_entries[4:6])) == "audit_unsettled"
        assert code_of(lambda: journal.append(made_entries[6:8])) == "audit_store_unavailable"
        assert journal.size == 4
        second.start()
        PostgresServer.until(lambda: appended(journal, made_entries[8:10]), "the standby was back")
        again = journal.append_new([made_entries[10], made_entries[5], made_entries[4]])
        assert (again.first, again.there) == (8, {1: 5, 2: 4})
        journal.close()
        assert latest_published(tmp_path) is not None
        reader = PostgresReader(Server(second.url()), Stored)
        assert [stored.leaf for stored in reader.records(0, 99)] == [entry.leaf for entry in (*made_entries[:6], *made_entries[8:11])]
        reader.close()


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged(tmp_path: Path) -> None:
    """The server then reports success with a warning, and a single copy: to the caller it is unsettled."""
    with pair() as (first, second, _):
        journal = opened(Server(first.url(), answer_within=30.0), patience=0.5, folder=tmp_path)
        journal.append(entries(2))
        second.stop(at_once=True)
        waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        canceller = subprocess.Popen(
            [sys.executable, "-c", CANCEL, first.url(), waiting], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert code_of(lambda: journal.append(entries(1))) == "audit_unsettled"
        output, _ = canceller.communicate(timeout=30)
        assert canceller.returncode == 0, output
        assert journal.size == 2
        second.start()
        PostgresServer.until(lambda: appended(journal, entries(1)), "the standby was back")
        assert journal.size == 4
        journal.close()


CANCEL = """
import sys, time, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for _ in range(200):
        if connection.execute(sys.argv[2]).fetchall():
            break
        time.sleep(0.05)
    else:
        sys.exit("nobody waited")
"""


def test_a_standby_that_lagged_is_not_continued_by_those_who_know_better(tmp_path: Path) -> None:
    """After a failover that lost records (an asynchronous standby), a node that saw them committed refuses for good, and so does one that
    starts beside its checkpoints."""
    with running() as first, made() as second:
        server = first.server()
        journal = opened(server, patience=0.5, folder=tmp_path)
        journal.append(entries(3))
        first.copy_to(second, "late")
        journal.append(entries(2))
        journal.sign_checkpoint()
        first.stop()
        second.settings = {**second.settings, "port": str(first.port)}
        (second.data / "standby.signal").unlink()
        second.port = first.port
        second.start()
        assert code_of(lambda: journal.append(entries(1))) == "audit_rolled_back"
        assert code_of(lambda: journal.append(entries(1))) == "audit_rolled_back"
        assert code_of(lambda: opened(server, patience=0.5, folder=tmp_path)) == "audit_rolled_back"
        journal.close()


def opened(server: Server, patience: float, folder: Path) -> Journal:
    journal = Journal(PostgresStore(server, SIGNER.verifier, patience), Checkpointing(SIGNER, folder))
    journal.open()
    return journal


def appended(journal: Journal, records: list) -> bool | None:
    try:
        journal.append(records)
    except AuditError:
        return None
    return True


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(AuditError) as refused:
        action()
    return refused.value.code
