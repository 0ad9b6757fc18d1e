"""What a ledger in PostgreSQL promises beyond every ledger: several nodes, lost answers, unsafe servers, users with few rights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.postgres.connection import Server, check_url
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.place import PostgresPlace
from adapters.postgres.reader import PostgresReader
from adapters.postgres.schema import LEDGER_STEPS
from adapters.postgres.subject_keys import PostgresKeys
from router.audit.checking.verify import Plan, Report, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.comparing import Compared
from router.audit.keys.rotation import hand_over, last_note, lost, vouched
from router.audit.ledger import AuditLedger
from router.audit.questions.reader import Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.audit.tree.merkle import leaf_hash, verify_consistency, verify_inclusion
from router.audit.tree.proof import prove_consistency, prove_inclusion, tree_root
from router.errors import AuditError, ConfigError
from router.ports import Arrival, Delivery, Due, Settled
from tests.postgres_server import PostgresServer, running
from tests.unit.audit.ledgers import SIGNER, entries

OTHER = NoteSigner("ledger.test", Ed25519PrivateKey.generate())


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


def node(server: Server, signer: NoteSigner = SIGNER, patience: float = 5.0, **more: object) -> Journal:
    """One gateway's journal, open."""
    journal = Journal(PostgresStore(server, signer.verifier, patience), Checkpointing(signer, **more))
    journal.open()
    return journal


def verified(server: Server, outside: str | None = None) -> Report:
    return verify(Plan(partial(PostgresReader, server, Stored), SIGNER.verifier, outside, processes=1))


def run(server: Server, sql: str, *parameters: object) -> list:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'SET search_path = "{server.schema}"')
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(AuditError) as refused:
        action()
    return refused.value.code


def test_nodes_that_append_in_turns_make_one_ledger(server: Server) -> None:
    """Each goes on from where the other ended: every index once, one tree, and the whole verifies."""
    one, two = node(server), node(server)
    made, places = entries(60), []
    for at in range(0, 60, 3):
        places += [one.append(made[at : at + 1]), two.append(made[at + 1 : at + 3])]
    assert places == sorted({*range(0, 60, 3), *range(1, 60, 3)})
    one.append([])
    assert (one.size, one.root()) == (two.size, two.root())
    one.close()
    two.close()
    report = verified(server)
    assert (report.ok, report.size, report.root) == (True, 60, one.root())


def test_a_session_that_was_ended_is_no_reason_to_refuse_a_record(server: Server) -> None:
    """A node that stood still in its turn, for longer than its patience, finds its session ended when it goes on: it makes another one."""
    journal = node(server, patience=0.0)
    journal.append(entries(1))
    end_sessions(server)
    assert journal.append(entries(2)) == 1
    journal.close()
    assert verified(server).ok


def test_a_session_that_ends_while_a_node_catches_up_in_its_turn_loses_nothing(server: Server) -> None:
    """It stood still just when it had read how far others are: it takes another turn."""

    class Slow(PostgresStore):
        armed = False

        def nodes(self, level: int, start: int, end: int) -> list[bytes]:
            if self.armed:
                self.armed = False
                end_sessions(server)
            return super().nodes(level, start, end)

    store = Slow(server, SIGNER.verifier, 0.0)
    slow, other = Journal(store, Checkpointing(SIGNER)), node(server)
    slow.open()
    other.append(entries(3))
    other.close()
    store.armed = True
    assert slow.append(entries(2)) == 3
    assert not store.armed
    slow.close()
    assert verified(server).ok


def test_proofs_from_stored_hashes_verify(server: Server) -> None:
    """Every eighth level is kept, the rest computed; proofs across both verify, also for what several nodes wrote."""
    one, two = node(server), node(server)
    for start in range(0, 700, 100):
        (one, two)[start // 100 % 2].append([system_entry("started", number) for number in range(start, start + 100)])
    reader = PostgresReader(server, Stored)
    size, root = reader.last_commit()
    for index in (0, 255, 256, 511, 699):
        assert verify_inclusion(leaf_hash(system_entry("started", index).leaf), index, size, prove_inclusion(reader, index, size), root)
    for old in (1, 255, 256, 257, 700):
        assert verify_consistency(old, size, tree_root(reader, old), root, prove_consistency(reader, old, size))
    reader.close()
    one.close()
    two.close()


def test_a_node_that_was_away_for_long_reads_on_before_it_takes_its_turn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catching up on very many records holds nobody up, and ends at the same tree."""
    monkeypatch.setattr("router.audit.journal.FAR", 10)
    one, two = node(server), node(server)
    for start in range(0, 90, 5):
        two.append(entries(90)[start : start + 5])
    assert one.append(entries(1)) == 90
    one.close()
    two.close()
    assert verified(server).ok


def test_two_nodes_may_sign_at_the_same_time(server: Server) -> None:
    """Two checkpoints of one size are one, and those of two sizes agree with each other."""
    one, two = node(server), node(server)
    one.append(entries(3))
    two.append([])
    one.sign_checkpoint()
    two.sign_checkpoint()
    two.append(entries(2))
    two.close()
    one.close()
    report = verified(server)
    assert (report.ok, report.held_against) == (True, [3, 5])


@dataclass
class Lossy:
    """Two nodes of a server that has just lost what was committed last: `one` has seen all of it, `two` what is left."""

    server: Server
    one: Journal
    two: Journal
    folder: Path

    def published(self) -> list[str]:
        return sorted(file.name for file in self.folder.rglob("*.checkpoint"))

    def stored(self) -> list[str]:
        return [note for (note,) in run(self.server, "SELECT note FROM checkpoints ORDER BY size")]


@pytest.fixture
def lossy(server: Server, tmp_path: Path) -> Iterator[Lossy]:
    """A failover to a standby that lacked ten of a hundred records."""
    one, two = (node(server, directory=tmp_path / name) for name in ("one", "two"))
    one.append(entries(90))
    two.append([])
    one.append(entries(10))
    for table, place in (("records", "idx"), ("leaf_hashes", "idx"), ("commits", "size - 1")):
        run(server, f"DELETE FROM {table} WHERE {place} >= 90")
    yield Lossy(server, one, two, tmp_path)
    one.abandon()
    two.abandon()


def test_what_the_server_has_lost_is_not_signed_for(lossy: Lossy) -> None:
    """Neither stored nor published: another node could sign for other records of that number. It refuses for good, as for a record."""
    assert not lossy.one.sign_checkpoint()
    assert lossy.one.fault is not None
    assert lossy.one.fault.code == "audit_rolled_back"
    assert (lossy.stored(), lossy.published()) == ([], [])
    store = PostgresStore(lossy.server, OTHER.verifier)
    store.open("ledger.test", successor=True)
    note = OTHER.sign(Checkpoint("ledger.test", 100, lossy.one.root()).text())
    assert code_of(lambda: store.write_hand_over(100, note, 1, None)) == "audit_rolled_back"
    store.close()


@pytest.mark.parametrize("batches", [(10,), (5, 5), (5, 10), (12,)], ids=str)
def test_other_records_in_their_place_are_the_only_ones_signed_for(lossy: Lossy, batches: tuple[int, ...]) -> None:
    """Also where no commit ended after as many records as the node had seen."""
    for count in batches:
        lossy.two.append([system_entry("started", number) for number in range(count)])
    assert not lossy.one.sign_checkpoint()
    assert lossy.one.fault is not None
    assert lossy.one.fault.code == "audit_tree_broken"
    assert (lossy.stored(), lossy.published()) == ([], [])
    assert lossy.two.sign_checkpoint()
    assert verified(lossy.server).ok


def test_a_checkpoint_of_the_same_size_that_says_something_else_ends_a_node(lossy: Lossy) -> None:
    """Two of one size are the same, or nothing is signed: nothing is published, and the one that is there stays."""
    other = SIGNER.sign(Checkpoint("ledger.test", 100, lossy.one.root()).text())
    run(lossy.server, "INSERT INTO checkpoints VALUES (100, %s, 1)", other)
    lossy.two.append([system_entry("started", number) for number in range(10)])
    assert not lossy.two.sign_checkpoint()
    assert lossy.two.fault is not None
    assert lossy.two.fault.code == "audit_tree_broken"
    assert (lossy.stored(), lossy.published()) == ([other], [])


def test_cosignatures_under_something_else_are_not_kept(server: Server) -> None:
    """They would be read in the place of the checkpoint."""
    journal = node(server)
    journal.append(entries(2))
    journal.sign_checkpoint()
    other = SIGNER.sign(Checkpoint("ledger.test", 2, bytes(32)).text()) + "— w1.example AAAAAAAAAAA=\n"
    assert code_of(lambda: journal.keep_cosigned(other)) == "audit_tree_broken"
    journal.abandon()
    assert verified(server).ok


def test_a_checkpoint_that_is_signed_while_a_node_opens_is_no_alarm(server: Server) -> None:
    """It is for more than the opening node read at first, and that is nothing that was cut off."""
    other = node(server)
    other.append(entries(2))

    class Overtaken(PostgresStore):
        def latest_checkpoint(self) -> str | None:
            other.append(entries(3))
            other.sign_checkpoint()
            return super().latest_checkpoint()

    journal = Journal(Overtaken(server, SIGNER.verifier), Checkpointing(SIGNER))
    journal.open()
    assert journal.append(entries(1)) == 5
    journal.close()
    other.close()


def test_a_node_signs_only_what_it_knows_committed(server: Server) -> None:
    """What another node appended since is signed by whoever has seen it."""
    one, two = node(server), node(server)
    one.append(entries(3))
    two.append(entries(2))
    one.sign_checkpoint()
    assert verified(server).held_against == [3]
    one.close()
    two.close()


async def test_an_idle_node_is_asked_whether_it_could_record(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer shows a store that is away before the first record meets it, and what others appended meanwhile is signed for."""
    monkeypatch.setattr("router.audit.journal.STALE_S", 0.0)
    busy, idle = node(server), AuditLedger(Journal(PostgresStore(server, SIGNER.verifier), Checkpointing(SIGNER, records=3)))
    await idle.open()
    busy.append(entries(3))
    await idle.ping()
    assert idle.size == 3
    await idle.close()
    assert verified(server).held_against == [3]
    busy.close()


@pytest.mark.parametrize(
    "made",
    [
        "ALTER TABLE records RENAME TO kept; CREATE VIEW records AS SELECT * FROM kept",
        "ALTER TABLE records ENABLE ROW LEVEL SECURITY",
    ],
    ids=["view", "rows by user"],
)
def test_what_computes_an_answer_is_no_part_of_a_ledger(server: Server, made: str) -> None:
    """It can say what was written while it is verified, and something else to others or in the next hour."""
    journal = node(server)
    journal.append(entries(3))
    journal.close()
    assert verified(server).ok
    run_all(server, made)
    assert [(fault.kind, "What stands as records" in fault.message) for fault in verified(server).faults] == [("file_damaged", True)]


def test_what_a_verification_hands_to_its_processes_can_be_handed_over(server: Server) -> None:
    """A ledger in a database is checked by several processes, too."""
    node(server).close()
    open_reader = pickle.loads(pickle.dumps(partial(PostgresPlace(server, server).reader, Stored)))
    reader = open_reader()
    assert reader.origin() == "ledger.test"
    reader.close()


def test_a_history_that_does_not_continue_what_was_seen_is_refused(server: Server) -> None:
    """A database in which history was rewritten, hashes and commits included, gets neither a record nor a signature from a running node."""
    journal = node(server)
    journal.append(entries(5))
    forged = node(server)
    forged.append(entries(2))
    run(server, "UPDATE leaf_hashes SET hash = %s WHERE idx = 6", bytes(32))
    run(server, "UPDATE commits SET root = %s WHERE size = 7", bytes(32))
    assert code_of(lambda: journal.append(entries(1))) == "audit_tree_broken"
    assert code_of(lambda: journal.append(entries(1))) == "audit_tree_broken"
    assert journal.until_checkpoint() is None
    journal.close()
    forged.close()


def test_a_database_that_has_lost_records_is_refused_by_a_running_node(server: Server) -> None:
    """As after a failover to a standby that lagged: what was acknowledged is gone, so nothing goes on over it."""
    journal = node(server)
    journal.append(entries(3))
    journal.append(entries(2))
    for table, column in (("records", "idx >= 3"), ("leaf_hashes", "idx >= 3"), ("commits", "size > 3")):
        run(server, f"DELETE FROM {table} WHERE {column}")
    assert code_of(lambda: journal.append(entries(1))) == "audit_rolled_back"
    journal.close()


def test_commits_apart_from_the_records_do_not_open(server: Server) -> None:
    """What was put together from two backups is not continued."""
    journal = node(server)
    journal.append(entries(5))
    journal.close()
    run(server, "DELETE FROM records WHERE idx = 4")
    assert code_of(lambda: node(server)) == "audit_tree_broken"


FAILING_ONCE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF nextval('tries') = 1 THEN RAISE EXCEPTION 'as was asked for' USING ERRCODE = '%s'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER fails AFTER INSERT ON commits EXECUTE FUNCTION fail_once();
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_the_server_rolls_back_for_others_sake_is_written_again(server: Server, state: str) -> None:
    """A serialisation failure or a deadlock costs the caller nothing, and leaves one copy."""
    journal = node(server)
    run_all(server, FAILING_ONCE % state)
    assert journal.append(entries(3)) == 0
    journal.close()
    assert (verified(server).ok, verified(server).size) == (True, 3)


@pytest.mark.parametrize(
    ("state", "code"), [("53100", "audit_disk_full"), ("42501", "audit_store_denied"), ("XX000", "audit_store_unavailable")]
)
def test_what_the_server_refuses_is_named_and_does_not_end_the_ledger(server: Server, state: str, code: str) -> None:
    """Nothing of it is in the ledger, and the next record goes on where it was."""
    journal = node(server)
    run_all(server, FAILING_ONCE % state)
    assert code_of(lambda: journal.append(entries(3))) == code
    assert journal.fault is None
    assert journal.append(entries(1)) == 0
    journal.close()
    assert (verified(server).ok, verified(server).size) == (True, 1)


def run_all(server: Server, sql: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'SET search_path = "{server.schema}"; {sql}')


def test_a_ledger_without_the_row_for_turns_is_not_appended_to(server: Server) -> None:
    """Nobody would be kept apart any more."""
    journal = node(server)
    run(server, "DELETE FROM turn")
    assert code_of(lambda: journal.append(entries(1))) == "audit_tree_broken"
    journal.close()


def test_a_place_that_is_taken_is_a_broken_ledger(server: Server) -> None:
    """A record that nobody committed lies where the next belongs: nothing is written over or beside it."""
    journal = node(server)
    journal.append(entries(2))
    run(server, "INSERT INTO records VALUES (2, 'x', '', '')")
    assert code_of(lambda: journal.append(entries(1))) == "audit_tree_broken"
    journal.close()
    assert run(server, "SELECT max(size) FROM commits") == [(2,)]


def test_nodes_with_two_origins_or_two_keys_do_not_share_a_ledger(server: Server) -> None:
    """One ledger has one name and one key; a node that lacks the key is told so when it starts, not by an auditor."""
    node(server).close()
    assert code_of(lambda: node(server, NoteSigner("other.test", Ed25519PrivateKey.generate()))) == "audit_origin_changed"
    assert code_of(lambda: node(server, OTHER)) == "audit_key_differs"


@pytest.mark.parametrize("when", ["before the turn", "in the turn"])
def test_a_session_that_the_server_ends_costs_nothing(server: Server, when: str) -> None:
    """The next append, or the same one, goes on over a new session; its records are there once."""

    class Ended(PostgresStore):
        armed = False

        def write(self, *arguments) -> None:
            if self.armed:
                self.armed = False
                end_sessions(server)
            super().write(*arguments)

    store = Ended(server, SIGNER.verifier)
    journal = Journal(store, Checkpointing(SIGNER))
    journal.open()
    journal.append(entries(1))
    if when == "in the turn":
        store.armed = True
    else:
        end_sessions(server)
    assert journal.append(entries(3)) == 1
    assert journal.append(entries(1)) == 4
    journal.close()
    assert verified(server).ok


def end_sessions(server: Server) -> None:
    """Of this schema's nodes, which the tests know by what they asked last; and waits until they are gone."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        mine = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        for (pid,) in connection.execute(mine).fetchall():
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_found_out_about(server: Server, committed: bool) -> None:
    """Whether it was committed or not, the caller hears of one index, and the records are there once."""

    class Lost(PostgresStore):
        """The connection breaks after the batch was sent; `committed` says on which side of the commit."""

        armed = False

        def write(self, first, rows, hashes, nodes, root, pruning, beside=None) -> None:
            if not self.armed:
                return super().write(first, rows, hashes, nodes, root, pruning)
            self.armed = False
            batch, connection = b"b" * 16, self._in_turn()
            self._insert(connection, first, rows, hashes, nodes)
            connection.execute("INSERT INTO commits VALUES (%b, %b, %b)", (first + len(rows), root, batch))
            if committed:
                connection.execute("COMMIT")
            connection.close()
            landed = self._settled(first, batch, AuditError("gone", "audit_store_unavailable"))
            assert landed is committed
            if not landed:
                raise AuditError("nothing was written", "audit_write_again")
            return None

    store = Lost(server, SIGNER.verifier)
    journal = Journal(store, Checkpointing(SIGNER))
    journal.open()
    journal.append(entries(2))
    store.armed = True
    assert journal.append(entries(4)) == 2
    assert journal.append(entries(1)) == 6
    journal.close()
    report = verified(server)
    assert (report.ok, report.size) == (True, 7)


def test_a_node_that_stops_in_its_turn_does_not_hold_the_others_up(server: Server) -> None:
    """The server ends its transaction after two seconds; what it then tries is written once, after the others'."""
    one, two = PostgresStore(server, SIGNER.verifier), node(server)
    journal = Journal(one, Checkpointing(SIGNER))
    journal.open()
    frozen = one.turn()
    frozen.__enter__()
    assert two.append(entries(2)) == 0
    frozen.__exit__(None, None, None)
    assert journal.append(entries(1)) == 2
    two.close()
    journal.close()


def test_a_turn_that_never_ends_is_a_named_refusal(server: Server) -> None:
    """Somebody else's lock: an append fails in bounded time, and the next works again."""
    hurried = Server(server.url, server.schema, 3.0, 1.0)
    journal = node(hurried, patience=0.1)
    with psycopg.connect(server.url) as other:
        other.execute(f'SELECT 1 FROM "{server.schema}".turn FOR UPDATE')
        assert code_of(lambda: journal.append(entries(1))) == "audit_store_unavailable"
    assert journal.append(entries(1)) == 0
    journal.close()


def test_what_cannot_be_durable_is_refused(postgres: PostgresServer) -> None:
    """A role, database or server for which a commit may be lost gets no record."""
    postgres.sql("CREATE ROLE hasty LOGIN SUPERUSER", "ALTER ROLE hasty SET synchronous_commit = off")
    server = postgres.server(user="hasty")
    assert code_of(lambda: node(server)) == "audit_store_unsafe"
    postgres.sql("ALTER ROLE hasty SET synchronous_commit = local")
    assert code_of(lambda: node(server)) == "audit_store_unsafe"
    postgres.sql("ALTER ROLE hasty SET synchronous_commit = remote_apply")
    node(server).close()


def test_a_server_without_fsync_is_refused() -> None:
    """Acknowledged means synced, also where the commit itself would say so."""
    with running(fsync="off") as careless:
        assert code_of(lambda: node(careless.server())) == "audit_store_unsafe"


GRANTS = """
GRANT USAGE ON SCHEMA "{schema}" TO {role};
GRANT SELECT, INSERT ON "{schema}".meta, "{schema}".records, "{schema}".leaf_hashes, "{schema}".nodes, "{schema}".commits,
  "{schema}".checkpoints, "{schema}".cosigned, "{schema}".barred, "{schema}".signers, "{schema}".order_turns TO {role};
GRANT SELECT, UPDATE ON "{schema}".turn TO {role};
GRANT SELECT, INSERT, DELETE ON "{schema}".arrivals TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}".deliveries TO {role};
"""
PRUNING_GRANTS = """
GRANT UPDATE (sealed) ON "{schema}".records TO {role};
"""
KEY_GRANTS = """
GRANT USAGE ON SCHEMA "{schema}" TO {role};
GRANT SELECT ON "{schema}".meta TO {role};
GRANT SELECT, INSERT, DELETE ON "{schema}".keys TO {role};
GRANT SELECT, INSERT ON "{schema}".keys_check, "{schema}".destroyed, "{schema}".compared TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}".holders TO {role};
"""


def take_and_give_up(journal: Journal) -> None:
    """Everything that is done with what lies beside the records."""
    waiting = Delivery("d1", "orders", "billing", Due.DISPATCH, "k", b"sealed", 1, 2, 2**62)
    journal.append([replace(entries(1)[0], arrival=Arrival(bytes(32), b"{}"), delivery=waiting)])
    assert journal.deliveries(lambda store: [each.id for each in store.lease("w", 5, 9, 1)]) == ["d1"]
    assert journal.deliveries(lambda store: store.renew("w", ["d1"], 19)) == ["d1"]
    assert journal.deliveries(lambda store: store.postpone("w", "d1", 1, 30, "status_503"))
    journal.append([replace(entries(1)[0], settled=Settled("d1", dead=True))])
    assert journal.deliveries(lambda store: store.revive("d1", 1, 2))
    journal.append([replace(entries(1)[0], settled=Settled("d1"))])
    assert journal.deliveries(lambda store: store.forget(2**62, 9)) == 1


def test_a_node_needs_no_right_to_change_what_was_written(postgres: PostgresServer) -> None:
    """With the documented grants a node appends and signs, and can neither alter nor delete a record; without them it is told so."""
    owner = postgres.server()
    node(owner).close()
    postgres.sql("CREATE ROLE gateway LOGIN")
    server = Server(postgres.url(user="gateway"), owner.schema)
    assert code_of(lambda: node(server)) == "audit_migration_denied"
    postgres.sql(f'GRANT USAGE ON SCHEMA "{owner.schema}" TO gateway')
    assert code_of(lambda: node(server)) == "audit_store_denied"
    postgres.sql(GRANTS.format(schema=owner.schema, role="gateway"))
    journal = node(server)
    journal.append(entries(3))
    take_and_give_up(journal)
    journal.close()
    assert verified(server).ok
    for sql in ("DELETE FROM records", "UPDATE records SET leaf = ''", "UPDATE commits SET root = ''", "DELETE FROM checkpoints"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(server, sql)


def test_a_node_needs_no_right_to_change_keys(postgres: PostgresServer) -> None:
    """The same of the subjects' keys."""
    owner = postgres.server()
    made = PostgresKeys(owner, bytes(32))
    made.open()
    made.close()
    postgres.sql("CREATE ROLE keyring LOGIN", KEY_GRANTS.format(schema=owner.schema, role="keyring"))
    server = Server(postgres.url(user="keyring"), owner.schema)
    keys = PostgresKeys(server, bytes(32))
    keys.open()
    key_id, _ = keys.ensure(["anna"])["anna"]
    keys.destroy(key_id)  # which needs DELETE, and leaves the rewriting to the owner
    for size in (3, 4):
        keys.mark(Compared("ledger.test", size, bytes(32)))
    assert (keys.compared(), keys.destroyed()) == (Compared("ledger.test", 4, bytes(32)), [key_id])
    assert keys.find("anna") is None
    keys.close()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(server, "UPDATE keys SET wrapped = ''")


@pytest.mark.parametrize("made", [GRANTS, PRUNING_GRANTS, KEY_GRANTS])
def test_the_grants_are_the_documented_ones(made: str) -> None:
    """What is tried here stands in the guide."""
    page = " ".join((Path(__file__).parents[2] / "docs/postgres.md").read_text().split())
    for statement in filter(None, (each.strip() for each in made.split(";"))):
        assert " ".join(statement.format(schema="lockgate", role="lockgate_node").replace('"', "").split()) in page


def test_a_user_who_may_not_migrate_is_told_who_may(postgres: PostgresServer) -> None:
    """One sentence, with the command to run."""
    postgres.sql("CREATE ROLE nobody_special LOGIN")
    with pytest.raises(AuditError, match="lockgate audit migrate") as refused:
        node(Server(postgres.url(user="nobody_special"), "nowhere"))
    assert refused.value.code == "audit_migration_denied"


def test_an_interrupted_migration_has_not_happened(server: Server) -> None:
    """A step that fails half-way leaves the former format, which works on; the repaired step is then taken, once, and nothing is lost."""
    journal = node(server)
    journal.append(entries(3))
    journal.close()
    now = max(LEDGER_STEPS)
    broken = {**LEDGER_STEPS, now + 1: ("ALTER TABLE records ADD COLUMN made text NOT NULL DEFAULT ''", "SELECT 1 / 0")}
    with pytest.raises(AuditError):
        PostgresStore(server, SIGNER.verifier, steps=broken).open("ledger.test")
    assert run(server, "SELECT value FROM meta WHERE name = 'ledger_format'") == [(str(now),)]
    node(server).close()
    made, filled = "CREATE TABLE extra (idx bigint PRIMARY KEY)", "INSERT INTO extra SELECT idx FROM records"
    sound = {**LEDGER_STEPS, now + 1: (made,), now + 2: (filled,)}
    for _ in range(2):
        store = PostgresStore(server, SIGNER.verifier, steps=sound)
        assert store.open("ledger.test")[0] == 3
        store.close()
    assert run(server, "SELECT count(*) FROM extra") == [(3,)]
    assert code_of(lambda: node(server)) == "audit_format_unknown"
    assert code_of(lambda: PostgresReader(server, Stored)) == "audit_format_unknown"


def test_a_reader_outlives_its_session_and_needs_a_ledger(server: Server) -> None:
    """The control process keeps one for days; where there is no ledger it says so."""
    assert code_of(lambda: PostgresReader(server, Stored)) == "audit_missing"
    journal = node(server)
    journal.append(entries(3))
    journal.close()
    reader = PostgresReader(server, Stored)
    end_sessions(server)
    assert [stored.index for stored in reader.records(0, 9)] == [0, 1, 2]
    reader.close()


def test_an_absent_server_is_named_and_asked_again_now_and_then() -> None:
    """Within the patience it is waited for; after that refusals come at once, and the first success ends them."""
    with running() as mortal:
        server = mortal.server()
        journal = node(server, patience=0.3)
        journal.append(entries(1))
        mortal.stop()
        for _ in range(3):
            assert code_of(lambda: journal.append(entries(1))) == "audit_store_unavailable"
        assert journal.fault is None
        mortal.start()
        PostgresServer.until(lambda: appended(journal), "it was back")
        assert journal.size == 2
        journal.close()
        assert verified(server).ok


def test_a_database_that_goes_away_is_no_fault_of_the_ledger() -> None:
    """A verification that loses its database says so; it accuses no record."""

    class Mortal(PostgresReader):
        def records(self, start: int, end: int):
            for stored in super().records(start, end):
                if stored.index == 1:
                    mortal.stop(at_once=True)
                    list(super().records(start, end))
                yield stored

    with running() as mortal:
        server = mortal.server()
        journal = node(server)
        journal.append(entries(3))
        journal.close()
        plan = Plan(partial(Mortal, server, Stored), SIGNER.verifier, processes=1)
        assert code_of(lambda: verify(plan)) == "audit_store_unavailable"


def test_a_checkpoint_that_cannot_be_stored_is_tried_again_later() -> None:
    """Not at once and without a pause, however many records wait to be signed for."""
    with running() as mortal:
        journal = node(mortal.server(), patience=0.1, records=1)
        journal.append(entries(3))
        mortal.stop()
        journal.sign_checkpoint()
        assert 3 < (journal.until_checkpoint() or 0) <= 5
        assert journal.fault is None
        journal.close()


def appended(journal: Journal) -> int | None:
    try:
        return journal.append(entries(1))
    except AuditError:
        return None


def test_two_nodes_have_one_key_for_a_subject(server: Server) -> None:
    """Whichever made it first; another sealing key is refused."""
    one, two = PostgresKeys(server, bytes(32)), PostgresKeys(server, bytes(32))
    one.open()
    two.open()
    assert one.ensure(["anna", "bo"])["anna"] == two.ensure(["anna"])["anna"]
    end_sessions(server)
    assert two.find("bo") == one.ensure(["bo"])["bo"][0]
    one.close()
    two.close()
    assert code_of(PostgresKeys(server, b"x" * 32).open) == "audit_sealing_key_wrong"


def test_keys_that_are_only_read_are_not_made(server: Server) -> None:
    """A question makes no tables."""
    assert code_of(PostgresKeys(server, bytes(32), read_only=True).open) == "audit_keys_missing"
    made = PostgresKeys(server, bytes(32))
    made.open()
    made.close()
    reading = PostgresKeys(server, bytes(32), read_only=True)
    reading.open()
    assert reading.find("anna") is None
    reading.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://host/db", "URL such as postgresql://"),
        ("host=127.0.0.1", "URL such as postgresql://"),
        ("postgresql://user:pa ss@h:x y/", "can be read"),
        ("postgresql://db.example/ledger", "sslmode=verify-full"),
        ("postgresql://db.example/ledger?sslmode=require", "sslmode=verify-full"),
        ("postgresql://127.0.0.1,db.example/ledger", "sslmode=verify-full"),
        ("postgresql://localhost/ledger?hostaddr=192.0.2.7", "sslmode=verify-full"),
        ("postgresql:///ledger?service=main", "not a service file"),
    ],
)
def test_a_url_that_is_none_or_trusts_anybody_is_refused(url: str, why: str) -> None:
    """The sentence says what is wanted and never repeats the URL."""
    with pytest.raises(ConfigError, match=why) as refused:
        check_url(url)
    assert "db.example" not in str(refused.value)
    assert "pa ss" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql:///ledger", "postgres://u:p@localhost:5432/x", "postgresql://a,b/x?sslmode=verify-full"])
def test_other_urls_are_not(url: str) -> None:
    """This machine, or others that prove who they are."""
    check_url(url)


def test_a_server_is_named_without_its_password() -> None:
    """What stands in errors and logs."""
    server = Server("postgresql://me:secret@db1,db2:5433/ledger?sslmode=verify-full")
    assert str(server) == "the database ledger at db1, db2:5433"
    assert "secret" not in f"{server} {server!r}"


def rotated(server: Server) -> Checkpoint:
    """From SIGNER to OTHER, by a node that has both keys."""
    return hand_over(PostgresStore(server, OTHER.verifier), Checkpointing(OTHER), vouched(SIGNER, OTHER), "scheduled", 1)


def test_a_key_that_was_handed_over_signs_no_more_and_its_node_goes_on_recording(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Its next checkpoint is refused, with the reason in the log, once; the new key's node signs for what it records; both keys verify."""
    old = node(server, records=2)
    old.append(entries(3))
    old.sign_checkpoint()
    handed = rotated(server)
    assert handed.size == 4
    for _ in range(3):
        old.append(entries(2))
        if old.until_checkpoint() == 0.0:
            assert not old.sign_checkpoint()
    assert (old.fault, caplog.text.count("may sign no more")) == (None, 1)
    assert code_of(lambda: old._store.write_checkpoint(5, "", 1)) == "audit_key_retired"
    assert code_of(lambda: node(server)) == "audit_key_differs"
    new = node(server, OTHER)
    new.append(entries(1))
    new.close()
    old.close()
    for key in (SIGNER, OTHER):
        report = verify(Plan(partial(PostgresReader, server, Stored), key.verifier, processes=1))
        assert (report.faults, report.held_against) == ([], [3, 4, 11])
        assert [one.vouched for one in report.rotations] == [True]


def test_a_hand_over_that_another_node_overtakes_is_done_again(server: Server) -> None:
    """A checkpoint by the old key of more records than the hand-over's would have no right to be there: the record is written anew."""
    other = node(server)
    other.append(entries(2))

    class Overtaken(PostgresStore):
        times = 1

        def write_hand_over(self, *arguments) -> None:
            if self.times:
                self.times -= 1
                other.append(entries(2))
                other.sign_checkpoint()
            super().write_hand_over(*arguments)

    handed = hand_over(Overtaken(server, OTHER.verifier), Checkpointing(OTHER), vouched(SIGNER, OTHER), "scheduled", 1)
    assert handed.size == 6
    other.close()
    report = verify(Plan(partial(PostgresReader, server, Stored), SIGNER.verifier, processes=1))
    assert (report.faults, report.held_against, [one.index for one in report.rotations]) == ([], [5, 6], [5])


def test_of_two_nodes_that_hand_over_one_does(server: Server) -> None:
    """To two different keys at once: the second is refused, and the ledger has one key."""
    node(server).close()
    third = NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    rotated(server)
    late = PostgresStore(server, third.verifier)
    assert code_of(lambda: hand_over(late, Checkpointing(third), vouched(SIGNER, third), "late", 1)) == "audit_key_changed"
    node(server, OTHER).close()


def test_a_lost_key_is_followed_in_a_shared_ledger(server: Server) -> None:
    """Nobody vouches, and the store takes the new key's checkpoints from then on."""
    journal = node(server)
    journal.append(entries(2))
    journal.close()
    store = PostgresStore(server, OTHER.verifier)
    note = last_note(store, "ledger.test", None)
    hand_over(store, Checkpointing(OTHER), lost(note, OTHER), "lost", 1)
    node(server, OTHER).close()
    report = verify(Plan(partial(PostgresReader, server, Stored), OTHER.verifier, processes=1))
    assert (report.ok, [one.vouched for one in report.rotations]) == (True, [False])


def test_what_witnesses_add_stands_under_the_checkpoint(server: Server) -> None:
    """The newest lines are read, by every reader and node, without a right to change the checkpoint itself; one that is not there cannot be
    cosigned."""
    journal = node(server)
    journal.append(entries(2))
    journal.sign_checkpoint()
    reader = PostgresReader(server, Stored)
    plain = reader.latest_checkpoint() or ""
    for line in ("— w1.example AAAAAAAAAAA=\n", "— w2.example AAAAAAAAAAA=\n"):
        journal.keep_cosigned(plain + line)
        assert reader.latest_checkpoint() == reader.checkpoints()[-1] == plain + line
    both = plain + "— w1.example AAAAAAAAAAA=\n— w2.example AAAAAAAAAAA=\n"
    for note in (both, plain + "— w3.example AAAAAAAAAAA=\n"):  # a node that was answered by fewer hides nothing
        journal.keep_cosigned(note)
        assert reader.latest_checkpoint() == both
    missing = SIGNER.sign(Checkpoint("ledger.test", 1, bytes(32)).text())
    assert code_of(lambda: journal.keep_cosigned(missing)) == "checkpoint_missing"
    journal.append(entries(1))
    journal.close()
    reader.close()
    assert verified(server).ok
