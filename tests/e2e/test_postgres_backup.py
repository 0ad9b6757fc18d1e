"""A ledger in PostgreSQL that was put back from a backup: it is not continued, and a new one says what went before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from router.audit.tree.checkpoint import latest_published, note_checkpoint
from tests.e2e.nodes import Cluster, cluster, command
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_postgres import Place
from tests.e2e.test_reviews import approve, held, shown
from tests.e2e.yard import load, save
from tests.postgres_server import PostgresServer, made

QUICK = {"audit": {"checkpoint": {"every": "200ms", "records": 5}}}
Restore = Callable[[], Place]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def dumped(place: Place, stack: ExitStack) -> Restore:
    """With pg_dump; put back into a database of the same name."""
    server, file = place.server, str(place.server.folder / f"{place.name}.dump")
    server.run("pg_dump", "-Fc", "-f", file, "-d", place.url)

    def restore() -> Place:
        server.sql(f"DROP DATABASE {place.name} WITH (FORCE)", f"CREATE DATABASE {place.name}")
        server.run("pg_restore", "-d", place.url, file)
        return place

    return restore


def copied(place: Place, stack: ExitStack) -> Restore:
    """With pg_basebackup; started as another server."""
    server, other = place.server, stack.enter_context(made())
    source = f"host=127.0.0.1 port={server.port} user=postgres"
    server.run("pg_basebackup", "-D", str(other.data), "-d", source, "-X", "stream", "--no-sync", "-c", "fast")

    def restore() -> Place:
        other.start()
        return Place(other, place.name)

    return restore


@pytest.mark.parametrize("backup", [dumped, pytest.param(copied, marks=pytest.mark.slow)])
def test_a_restored_ledger_is_succeeded_by_one_that_embeds_its_checkpoint(
    postgres: PostgresServer, tmp_path: Path, stack: ExitStack, backup: Callable[[Place, ExitStack], Restore]
) -> None:
    """Five records were acknowledged after the backup: nodes refuse it; recovered, the new ledger's first record names the checkpoint that
    they are missing from, both nodes go on, a request that was held before is sent, and both ledgers verify."""
    with cluster(postgres, tmp_path, 2, **QUICK) as pair:
        one, two = pair.nodes
        pair.start()
        waiting = held(one)
        assert one.ask("ann", "GET", "/echo/1").status == 200
        restore = backup(pair.place, stack)
        for number in range(5):
            assert two.ask("ann", "GET", f"/echo/{number}").status == 200
        size = pair.place.size()
        note = until(lambda: covering(one, size), "a checkpoint covered all")
        until(lambda: covering(two, size), "the other's too")
        (tmp_path / "note").write_text(note)
        assert [node.process.stop() for node in pair.nodes] == [0, 0]
        place = restore()
        for node in pair.nodes:
            point_to(node, place)
            node.process.start()
            assert node.process.wait() == 2
            assert "Traceback" not in node.process.said
        rename(pair, "yard.example/ledger-2")
        missing = size - place.size()
        assert missing >= 5
        before = place.leaves()
        newest = latest_published(one.state / "checkpoints") or ""
        assert note_checkpoint(newest).size >= note_checkpoint(note).size
        recovered = command(one, "audit", "recover", "--checkpoint", str(tmp_path / "note"))
        assert recovered.returncode == 0, recovered.stderr
        assert "are missing from it" in recovered.stdout
        kept = recovered.stdout.split("the schema ")[1].split(".")[0]
        first = place.leaves()[0]
        assert (first["event"], first["details"]["predecessor"]["checkpoint"]) == ("recovered", newest)
        again = command(one, "audit", "recover", "--checkpoint", str(tmp_path / "note"))
        assert (again.returncode, "already that of" in again.stderr) == (2, True), again.stderr
        (two.state / "checkpoints").rename(two.state / "checkpoints-before")
        for node in pair.nodes:
            node.start()
        assert approve(two, waiting).status == 200
        assert shown(one, waiting)["state"] == "done"
        assert len(one.arrived("/pay/1")) == 1
        assert [node.process.stop() for node in pair.nodes] == [0, 0]
        verified = command(one, "audit", "verify", "--personal")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        predecessor(one, kept, "yard.example/ledger")
        old = json.loads(command(one, "audit", "verify", "--personal", "--json").stdout)
        assert (old["records"], {fault["kind"] for fault in old["faults"]}) == (len(before), {"records_cut"})


def covering(node: Lockgate, size: int) -> str | None:
    note = node.control("GET", "/v1/audit/checkpoint").json.get("note")
    return note if note and note_checkpoint(note).size >= size else None


def point_to(node: Lockgate, place: Place) -> None:
    (node.yard.folder / "ledger-url").write_text(place.url)
    (node.yard.folder / "keys-url").write_text(place.server.url(f"{place.name}_keys"))


def rename(pair: Cluster, origin: str) -> None:
    for node in pair.nodes:
        written = load(node.yard.config)
        written["audit"]["origin"] = origin
        save(node.yard.config, written)


def predecessor(node: Lockgate, schema: str, origin: str) -> None:
    """The configuration by which the old ledger is asked."""
    written = load(node.yard.config)
    written["audit"]["origin"] = origin
    written["audit"]["store"] |= {"schema_name": schema, "keys_schema_name": "lockgate"}
    written["audit"]["checkpoint"]["directory"] = str(next((node.state / "checkpoints").glob("0*/")))
    save(node.yard.config, written)
