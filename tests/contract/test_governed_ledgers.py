"""Erasure, holds and pruning over every store; and by several nodes at once where there can be several."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.postgres import recovery as postgres_recovery
from adapters.postgres import subject_keys as postgres_subject_keys
from adapters.postgres.connection import Server
from adapters.postgres.orders import PostgresTurns
from adapters.postgres.place import PostgresPlace
from adapters.postgres.subject_keys import PostgresKeys
from adapters.sqlite.place import SqlitePlace
from router.audit.checking.verify import Plan, Report, verify
from router.audit.governance import pruning
from router.audit.governance.erasing import Erasing
from router.audit.governance.pruning import Pruning
from router.audit.governance.retention import DAY_NS, Retention, RetentionClass
from router.audit.journal import Checkpointing
from router.audit.keys import leasing
from router.audit.keys.rotation import hand_over, vouched
from router.audit.outbox import Outbox
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import Stored
from router.audit.records.record import decision_entry, system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, note_checkpoint, publish
from router.errors import AuditError
from router.ports import Delivery, Due, Settled
from router.wiring.ledger_place import LedgerPlace
from router.wiring.recovery import Around, recover_shared
from tests.postgres_server import PostgresServer
from tests.unit.audit.governed import OFFICER, SEALING_KEY, Clock, Counted, KeyElsewhere, Place, running
from tests.unit.audit.ledgers import SIGNER
from tests.unit.audit.samples import DECISION, SUBJECT, numbered

REASON = "gdpr_art_17"
DAILY = Retention((RetentionClass("rest", 184 * DAY_NS),))
Node = Callable[..., Any]


@pytest.fixture
def shared(postgres: PostgresServer) -> PostgresPlace:
    """Ledger and keys in schemas of their own, as in two databases."""
    return PostgresPlace(postgres.server(), postgres.server())


@pytest.fixture(params=["sqlite", "postgres"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    return SqlitePlace(tmp_path) if request.param == "sqlite" else request.getfixturevalue("shared")


@pytest.fixture
async def node(tmp_path: Path, shared: PostgresPlace) -> AsyncIterator[Node]:
    """Running nodes of one ledger, each with a folder of its own."""
    async with AsyncExitStack() as stack:
        ids = Counted()

        async def made(name: str, clock: Clock | None = None) -> Place:
            folder = tmp_path / name
            folder.mkdir()
            return await stack.enter_async_context(running(folder, clock, ids, shared))

        yield made


def checked(at: LedgerPlace) -> Report:
    keys = partial(at.kept_keys, lambda: SEALING_KEY)
    return verify(Plan(partial(at.reader, Stored), SIGNER.verifier, open_keys=keys, processes=1))


async def code_of(action: Any) -> str:
    with pytest.raises(AuditError) as refused:
        await action
    return refused.value.code


async def year(place: Place) -> None:
    """Decisions of a year ago, and a record a fortnight since."""
    await place.decide(*range(20))
    for day in range(14, 365, 14):
        await place.ledger.append(system_entry("refused", DECISION.decided_ns + day * DAY_NS, {"rate_limited": 1}))


def late() -> Clock:
    return Clock(DECISION.decided_ns + 365 * DAY_NS)


async def test_what_is_erased_verifies_and_is_recorded_no_more(at: LedgerPlace, tmp_path: Path) -> None:
    """The key is nowhere; what was under way under it is recorded without its personal part; the same person gets another key."""
    async with running(tmp_path, at=at) as place:
        await place.decide(1)
        old_id, old = await place.keys.key_for(SUBJECT.id)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        assert (await place.keys.present([old_id]), await place.keys.key(old_id)) == ([], None)
        late_one = decision_entry(numbered(2), b"{}", old_id, old)
        index = await place.ledger.append(late_one)
        stored = place.facts.stored(index)
        assert (stored.sealed, stored.key_id) == (b"", "")
        assert b'"withheld":[' in stored.leaf
        assert b"commitments" not in stored.leaf
        assert (await place.keys.key_for(SUBJECT.id))[0] != old_id
    assert (checked(at).faults, checked(at).erased) == ([], 2)


async def test_an_erasure_removes_deliveries_that_were_given_up(at: LedgerPlace, tmp_path: Path) -> None:
    """Nobody could send them any more. What waits ends by itself, on record; another's stays."""
    async with running(tmp_path, at=at) as place:
        await place.decide(1)
        hers, his = [(await place.keys.key_for(each))[0] for each in (SUBJECT.id, "bob@halden.example")]
        for name, key_id in (("d1", hers), ("d2", his), ("d3", hers), ("d4", hers)):
            made = Delivery(name, "orders", "billing", Due.DISPATCH, key_id, b"sealed", 1, 2, 2**62, b"o" * 33)
            await place.ledger.append(replace(system_entry("started", 1), delivery=made))
        for name in ("d1", "d2", "d3"):
            await place.ledger.append(replace(system_entry("started", 1), settled=Settled(name, dead=True)))
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        outbox = Outbox(place.ledger, place.keys)
        assert [each.delivery.id for each in await outbox.page(-1, 9, dead=None)] == ["d2", "d4"]
        assert [(each.id, key) for each, key in await outbox.lease("me", 10, 20, 9)] == [("d4", b"")]
    assert checked(at).faults == []


async def test_pruning_takes_the_parts_and_says_so_in_one_commit(at: LedgerPlace, tmp_path: Path) -> None:
    """What is old enough and not on hold goes; leaves and proofs stay, and another reader sees the same."""
    async with running(tmp_path, late(), at=at) as place:
        await year(place)
        await place.holding.add("decision", numbered(3).id, OFFICER)
        before = {each.index: each.leaf for each in place.facts.reader.records(0, 1000)}
        summary = await Pruning(place.orders, DAILY).prune(OFFICER)
        assert [(each.parts, each.held) for each in summary.classes] == [(38, 2)]
        reader = at.reader(Stored)
        after = {each.index: each for each in reader.records(0, 1000)}
        reader.close()
        assert {index: after[index].leaf for index in before} == before
        assert [index for index in range(40) if after[index].sealed] == [6, 7]
    report = checked(at)
    assert (report.faults, report.pruned) == ([], 38)


async def test_a_broken_pruning_has_not_happened(at: LedgerPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the parts nor the record of it without the other."""
    async with running(tmp_path, late(), at=at) as place:
        await year(place)
        store = place.journal._store
        name = "_insert" if isinstance(at, PostgresPlace) else "write"

        def fails(*_: Any) -> None:
            raise AuditError("no room", "audit_disk_full")

        monkeypatch.setattr(store, name, fails)
        assert await code_of(Pruning(place.orders, DAILY).prune(OFFICER)) == "audit_disk_full"
        monkeypatch.undo()
        assert place.leaves("pruned") == []
        assert (await Pruning(place.orders, DAILY).prune(OFFICER)).classes[0].parts == 40
    assert (checked(at).faults, checked(at).pruned) == ([], 40)


async def test_no_node_uses_a_key_that_another_has_erased(node: Node, shared: PostgresPlace) -> None:
    """When the answer is there, the other node's cache, workers and held requests have been told, and its next key is another."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    old_id, old = await two.keys.key_for(SUBJECT.id)
    await one.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert two.around.told == [f"forget {old_id}", f"drop {old_id}"]
    assert (await two.keys.key_for(SUBJECT.id))[0] != old_id
    await two.ledger.append(decision_entry(numbered(2), b"{}", old_id, old))
    assert (checked(shared).faults, checked(shared).erased) == ([], 2)


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leasing, postgres_subject_keys):
        monkeypatch.setattr(module, "LEASE_S", 1.0)
        monkeypatch.setattr(module, "MARGIN_S", 0.3)
    monkeypatch.setattr(leasing, "EVERY_S", 0.1)


@pytest.mark.usefixtures("quick_leases")
async def test_a_node_that_does_not_confirm_has_no_key_when_the_erasure_is_answered(node: Node, shared: PostgresPlace) -> None:
    """A node that cannot forget, as one that is cut off: it is waited for as long as it may use keys, and then uses none, of anybody. What
    it sealed before is recorded without its personal part."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    old_id, old = await two.keys.key_for(SUBJECT.id)
    await two.keys.key_for("bo")

    async def cannot(_: str) -> None:
        raise AuditError("the reviews' file is away", "audit_io_failed")

    two.around.drop_held = cannot
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        await one.erasing.erase(SUBJECT.id, REASON, OFFICER)
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert await code_of(two.keys.key_for(SUBJECT.id)) == "audit_keys_unconfirmed"
    assert await code_of(two.keys.ping()) == "audit_keys_unconfirmed"
    assert await code_of(two.keys.key_for("bo")) == "audit_keys_unconfirmed"
    await two.ledger.append(decision_entry(numbered(2), b"{}", old_id, old))
    del two.around.drop_held  # the class's own is back
    await confirmed(two)
    assert (await two.keys.key_for(SUBJECT.id))[0] != old_id
    await one.keys.key_for("bo")
    await one.erasing.erase("bo", REASON, OFFICER)
    assert two.around.told[-1].startswith("drop")
    assert (checked(shared).faults, checked(shared).erased) == ([], 2)


@pytest.mark.usefixtures("quick_leases")
async def test_a_node_without_the_keys_database_stops_using_keys(node: Node, shared: PostgresPlace) -> None:
    """Nobody confirms what is in its memory, so a little later nothing of it is used; once the database is back, it goes on."""
    one = await node("one")
    await one.keys.key_for("bo")
    with nobody_may_read(shared.subject_keys):
        await asyncio.sleep(1.5)
        assert await code_of(one.keys.key_for("bo")) == "audit_keys_unconfirmed"
    await confirmed(one)
    assert await one.keys.key_for("bo")


TABLES = ("keys", "destroyed", "compared")


@pytest.fixture
def put_back(at: LedgerPlace, tmp_path: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Copies the subjects' keys aside, and puts the copy back; nobody has them open."""
    if isinstance(at, PostgresPlace):
        return partial(copied, at.subject_keys), partial(restored, at.subject_keys)
    file, copy = tmp_path / "keys.sqlite", tmp_path / "backup"
    return partial(shutil.copy, file, copy), partial(shutil.copy, copy, file)  # type: ignore[return-value]  # what it returns nobody asks


def copied(server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f'CREATE TABLE "{server.schema}".{table}_copy AS SELECT * FROM "{server.schema}".{table}')


def restored(server: Server) -> None:
    with psycopg.connect(server.url) as connection:
        for table in TABLES:
            connection.execute(f'DELETE FROM "{server.schema}".{table}')
            connection.execute(
                f'INSERT INTO "{server.schema}".{table} OVERRIDING SYSTEM VALUE SELECT * FROM "{server.schema}".{table}_copy'
            )


async def test_an_old_copy_of_the_keys_is_held_against_the_ledger(
    at: LedgerPlace, tmp_path: Path, put_back: tuple[Callable[[], None], Callable[[], None]]
) -> None:
    """What was erased since is destroyed again at the next start, and recorded once; nobody else's key is touched, and all verifies."""
    copy, restore = put_back
    async with running(tmp_path, at=at) as place:
        await place.decide(1)
        await place.decide(2, subject="bo")
        erased, _ = await place.keys.key_for(SUBJECT.id)
        kept, _ = await place.keys.key_for("bo")
        await place.erasing.finish()
    copy()
    async with running(tmp_path, at=at) as place:
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
        mark = await place.keys.compared()
        assert mark == place.facts.compared()
    restore()
    assert [fault.kind for fault in checked(at).faults if fault.kind == "erased_present"] == ["erased_present"]
    async with running(tmp_path, at=at) as place:
        assert await place.keys.compared() != mark
        assert len(await place.erasing.finish()) == 1
        assert await place.keys.present([erased, kept]) == [kept]
        (found,) = place.leaves("erased_keys_found")
        assert (found["details"]["reason"], found["details"]["key_ids"]) == ("older_keys", [erased])
        assert await place.erasing.finish() == []
    assert [fault for fault in checked(at).faults if fault.kind != "key_missing"] == []  # the officer's is younger than the copy


async def test_a_store_finds_the_leaves_with_a_text(at: LedgerPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, within a range, over as many questions as it takes, without what is sealed."""
    monkeypatch.setattr("adapters.postgres.reader._LOOKED_AT", 3)
    async with running(tmp_path, at=at) as place:
        await place.decide(1, 2)
        for code in ("rate_limited", "100%_sure"):
            await place.ledger.append(system_entry("refused", place.clock.now_ns(), {code: 1}))
            await place.decide(3)
        with closing(at.reader(Stored)) as reader:
            leaves = {stored.index: stored.leaf for stored in reader.records(0, 100)}
            text = b'"schema":"lockgate.system.v1"'
            expected = [(index, leaf) for index, leaf in leaves.items() if text in leaf]
            assert [index for index, _ in expected] == [4, 7]
            assert list(reader.leaves_with(text, 0, 100)) == expected
            assert list(reader.leaves_with(text, 4, 7)) == expected[:1]
            assert [index for index, _ in reader.leaves_with(b"100%_sure", 0, 100)] == [7]
            assert list(reader.leaves_with(b"%", 0, 7)) == []


async def test_under_keys_that_are_barred_again_nothing_is_sealed(at: LedgerPlace, tmp_path: Path) -> None:
    """However often, and under others as before; a store that several nodes have tells it once."""
    async with running(tmp_path, at=at) as place:
        keys = {subject: await place.keys.key_for(subject) for subject in ("ann", "bo")}
        waits = [system_entry("stopped", 1, {}, place.ids.new(), {"by": by}, *keys[by]) for by in keys]
        for _ in range(2):
            await place.ledger.call(lambda journal: journal.bar_again([keys["ann"][0]]))
        indexes = await place.ledger.append_many(waits)
        assert [place.facts.stored(index).key_id for index in indexes] == ["", keys["bo"][0]]
    if isinstance(at, PostgresPlace):
        with psycopg.connect(at.ledger.url) as database:
            assert database.execute(f'SELECT count(*) FROM "{at.ledger.schema}".barred').fetchone() == (1,)


async def test_nodes_renew_the_mark_by_turns(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds it renewed by another leaves it, and goes by it the next time."""
    monkeypatch.setattr("router.audit.governance.erasing.RENEWED", 4)
    one, two = await node("one"), await node("two")
    await one.decide(1)
    await asyncio.gather(one.erasing.finish(), two.erasing.finish())
    await two.decide(2, 3, 4)
    await one.erasing.carry_on()
    renewed = await two.keys.compared()
    assert renewed == one.facts.compared()
    asked: list[list[str]] = []
    present = two.keys.present

    async def noted(key_ids: Any) -> list[str]:
        asked.append(list(key_ids))
        return await present(key_ids)

    monkeypatch.setattr(two.keys, "present", noted)
    await two.erasing.carry_on()
    assert (await two.keys.compared(), asked) == (renewed, [[]])
    await two.decide(5, 6)
    await two.erasing.carry_on()
    assert await one.keys.compared() == two.facts.compared() != renewed


async def test_of_nodes_that_start_on_old_keys_one_destroys_what_came_back(node: Node, shared: PostgresPlace) -> None:
    """They take turns: the second finds nothing."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    copied(shared.subject_keys)
    await one.erasing.erase(SUBJECT.id, REASON, OFFICER)
    await asyncio.gather(one.keys.close(), two.keys.close())
    restored(shared.subject_keys)
    await asyncio.gather(one.keys.open(), two.keys.open())
    finished = await asyncio.gather(one.erasing.finish(), two.erasing.finish())
    assert sorted(len(each) for each in finished) == [0, 1]
    assert len(one.leaves("erased_keys_found")) == len(one.leaves("erasure_repeated")) == 1


async def test_a_recovered_ledger_of_several_nodes_knows_erasures_and_holds(tmp_path: Path, shared: PostgresPlace) -> None:
    """With old keys beside it the erased one is destroyed before the new ledger has its place; a hold on a decision of the ledger before
    keeps whose it is."""
    async with running(tmp_path, at=shared) as place:
        await place.decide(1)
        (held,) = await place.decide(2, subject="bo")
        erased, _ = await place.keys.key_for(SUBJECT.id)
        copied(shared.subject_keys)
        await place.holding.add("decision", held.id, OFFICER)
        await place.erasing.erase(SUBJECT.id, REASON, OFFICER)
    restored(shared.subject_keys)
    following = NoteSigner("ledger.test/2", Ed25519PrivateKey.generate())

    def keys() -> PostgresKeys:
        made = shared.keys(SEALING_KEY)
        made.open()
        return made

    _, schema, carried = recover_shared(shared, tmp_path / "checkpoints", following, "restored", None, Around((), keys))
    assert schema.startswith(shared.ledger.schema)
    assert (carried.erasures, carried.destroyed, carried.holds) == (1, 1, 1)
    with closing(keys()) as there:
        assert there.present([erased]) == []
    async with running(tmp_path, at=shared, signer=following) as place:
        assert await place.erasing.finish() == []
        assert await code_of(place.erasing.erase("bo", REASON, OFFICER)) == "audit_on_hold"
        assert erased in place.facts.standing().erased


async def test_a_ledger_that_is_being_read_is_left_alone_and_its_loss_is_told_afterwards(
    tmp_path: Path, postgres: PostgresServer, shared: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump or an auditor's query holds the tables. When the command is given again, the checkpoint that tells what is missing lies where
    the first attempt put it aside."""
    monkeypatch.setattr(postgres_recovery, "LOCK_S", 0.2)
    async with running(tmp_path, at=shared) as place:
        await place.decide(1)
    checkpoints = tmp_path / "checkpoints"
    checkpoint = Checkpoint(SIGNER.name, 99, bytes(32))
    publish(checkpoints, checkpoint, SIGNER.sign(checkpoint.text()))
    following = NoteSigner("ledger.test/2", Ed25519PrivateKey.generate())
    with psycopg.connect(postgres.url()) as auditor:
        auditor.execute(f'SELECT * FROM "{shared.ledger.schema}".records').fetchall()
        with pytest.raises(AuditError) as refused:
            recover_shared(shared, checkpoints, following, "restored", None)
        assert refused.value.code == "audit_being_read"
    assert checked(shared).faults == []
    before, _, _ = recover_shared(shared, checkpoints, following, "restored", None)
    assert (before.relation, note_checkpoint(before.note)) == ("behind", checkpoint)


@pytest.mark.usefixtures("quick_leases")
async def test_a_node_under_which_old_keys_were_put_back_uses_none_again(node: Node, shared: PostgresPlace) -> None:
    """The numbers of destroyed keys are given out a second time, for others: it would not hear of one that has a number that it saw."""
    one, two = await node("one"), await node("two")
    for subject in (SUBJECT.id, "bo", "cy"):
        await one.decide(1, subject=subject)
    copied(shared.subject_keys)
    await one.erasing.erase(SUBJECT.id, REASON, OFFICER)
    await two.keys.key_for("bo")
    await confirmed(two)
    restored(shared.subject_keys)
    await asyncio.sleep(1.5)  # longer than its lease
    async with running(one.folder.parent, one.clock, one.ids, shared) as three:
        await three.erasing.finish()
        await three.erasing.erase("bo", REASON, OFFICER)
        await asyncio.sleep(0.3)
        assert await code_of(two.keys.key_for("bo")) == "audit_keys_unconfirmed"
        assert two.keys._lease is not None
        assert await code_of(two.keys._lease._renew()) == "audit_keys_put_back"
        assert (await three.keys.key_for("cy"))[1]


async def confirmed(place: Place) -> None:
    """Returns when its keys may be used."""
    for _ in range(200):
        if (place.keys.until or 0) > leasing.lease_clock():
            return
        await asyncio.sleep(0.05)
    pytest.fail("its keys were not confirmed again")


@contextmanager
def nobody_may_read(server: Server) -> Iterator[None]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'ALTER TABLE "{server.schema}".holders RENAME TO away')
        yield
        connection.execute(f'ALTER TABLE "{server.schema}".away RENAME TO holders')


async def test_of_two_erasures_at_once_one_is_done(node: Node, shared: PostgresPlace) -> None:
    """The second finds nothing to erase; there is one order and one record of it."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    done = await asyncio.gather(*(each.erasing.erase(SUBJECT.id, REASON, OFFICER) for each in (one, two)), return_exceptions=True)
    (refused,) = [each for each in done if isinstance(each, AuditError)]
    assert refused.code == "subject_unknown"
    assert len(one.leaves("erasure_ordered")) == len(one.leaves("subject_erased")) == 1
    assert checked(shared).ok


async def test_a_hold_and_an_erasure_at_once_do_not_both_succeed(node: Node, shared: PostgresPlace) -> None:
    """Whichever comes first refuses the other, whatever node it is given to."""
    one, two = await node("one"), await node("two")
    for number in range(6):
        subject = f"subject-{number}"
        await one.decide(number, subject=subject)
        orders = [one.erasing.erase(subject, REASON, OFFICER), two.holding.add("subject", subject, OFFICER)]
        done = await asyncio.gather(*orders[:: 1 if number % 2 else -1], return_exceptions=True)
        (refused,) = [each for each in done if isinstance(each, AuditError)]
        assert refused.code in ("audit_on_hold", "subject_unknown")
    assert checked(shared).ok


async def test_nodes_that_start_together_finish_an_erasure_once(node: Node, shared: PostgresPlace) -> None:
    """What a node that died had ordered is carried out by one of them."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    key_id, _ = await one.keys.key_for(SUBJECT.id)
    async with one.orders.one_at_a_time:
        await one.erasing._ordered(key_id, REASON, OFFICER)
    finished = await asyncio.gather(one.erasing.finish(), two.erasing.finish())
    assert sorted(len(each) for each in finished) == [0, 1]
    assert len(one.leaves("subject_erased")) == 1
    assert (checked(shared).faults, await two.keys.present([key_id])) == ([], [])


async def test_who_lost_its_turn_writes_no_order(node: Node, shared: PostgresPlace) -> None:
    """A node whose session ended while it thought about an order, and another that gave one meanwhile: the first is refused, and may ask
    again; its ledger goes on."""
    one, two = await node("one"), await node("two")
    await one.decide(1)

    async def overtaken(key_id: str, who: Any) -> None:
        one.orders.one_at_a_time._nodes._session.close()
        await two.holding.add("subject", SUBJECT.id, OFFICER)

    slow = Erasing(one.orders, one.around)
    slow._check = overtaken  # type: ignore[method-assign]
    assert await code_of(slow.erase(SUBJECT.id, REASON, OFFICER)) == "audit_order_overtaken"
    assert await code_of(one.erasing.erase(SUBJECT.id, REASON, OFFICER)) == "audit_on_hold"
    await one.decide(2)
    assert (one.leaves("erasure_ordered"), checked(shared).faults) == ([], [])


def test_a_turn_of_giving_orders_is_waited_for_and_then_refused(shared: PostgresPlace) -> None:
    """One at a time; a turn that does not end is one sentence for the others."""
    store = shared.store(SIGNER.verifier)
    store.open("ledger.test")
    store.close()
    first, second = PostgresTurns(shared.ledger), PostgresTurns(shared.ledger, wait=0.3)
    number = first.take()
    with pytest.raises(AuditError, match="giving orders") as refused:
        second.take()
    assert refused.value.code == "audit_orders_busy"
    first.leave()
    assert second.take() > number
    second.leave()


async def test_a_destroyed_key_is_in_no_file_of_the_database(node: Node, shared: PostgresPlace, postgres: PostgresServer) -> None:
    """Its wrapped bytes are on no page of any table, the dead versions and the pages' holes included."""
    one = await node("one")
    for number in range(40):
        await one.keys.key_for(f"subject-{number}")
    key_id = await one.keys.find("subject-7")
    with psycopg.connect(shared.subject_keys.url, autocommit=True) as connection:
        table = f'"{shared.subject_keys.schema}".keys'
        (wrapped,) = connection.execute(f"SELECT wrapped FROM {table} WHERE key_id = %s", (key_id,)).fetchone()
        connection.execute("CHECKPOINT")
        assert pages_with(postgres, wrapped)
        await one.erasing.erase("subject-7", REASON, OFFICER)
        connection.execute("CHECKPOINT")
    assert pages_with(postgres, wrapped) == []


def pages_with(postgres: PostgresServer, content: bytes) -> list[Path]:
    return [file for file in (postgres.data / "base").rglob("*") if file.is_file() and content in file.read_bytes()]


async def test_two_nodes_that_prune_at_once_take_every_part_once(
    node: Node, shared: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part is named by one record, and each node answers for it, as a reader elsewhere does."""
    monkeypatch.setattr(pruning, "BATCH", 7)
    one, two = await node("one", late()), await node("two", late())
    await year(one)
    done = await asyncio.gather(*(Pruning(each.orders, DAILY).prune(OFFICER) for each in (one, two)))
    assert sum(each.classes[0].parts for each in done) == 40
    assert sorted(index for leaf in one.leaves("pruned") for start, end in leaf["details"]["ranges"] for index in range(start, end)) == [
        *range(40)
    ]
    page = Trail(two.facts.reader, two.facts.index, None).page(Query(kind="decision"), None, 100, True)
    assert {found.sealed for found in page.rows} == {"pruned"}
    assert (checked(shared).faults, checked(shared).pruned) == ([], 40)


async def test_everything_in_one_ledger_verifies_in_every_store(at: LedgerPlace, tmp_path: Path) -> None:
    """Prunings, a hold, erasures before and after the key was handed over: whole for whoever trusts either key."""
    new = NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    async with running(tmp_path, late(), at=at) as place:
        await year(place)
        await place.decide(30, subject="bo")
        await place.holding.add("decision", numbered(3).id, OFFICER)
        await Pruning(place.orders, DAILY).prune(OFFICER)
        await place.erasing.erase("bo", REASON, OFFICER)
    plan = Checkpointing(new, tmp_path / "checkpoints")
    hand_over(at.store(new.verifier), plan, vouched(SIGNER, new), "scheduled", 1)
    async with running(tmp_path, late(), at=at, signer=new) as place:
        await place.decide(31_000_000, subject="mia")
        await place.erasing.erase("mia", REASON, OFFICER)
        await Pruning(place.orders, DAILY).prune(OFFICER)
    keys = partial(at.kept_keys, lambda: SEALING_KEY)
    for trusted in (SIGNER, new):
        report = verify(Plan(partial(at.reader, Stored), trusted.verifier, open_keys=keys, processes=1))
        assert report.faults == []
        assert (report.pruned, report.erased, len(report.rotations)) == (38, 4, 1)


async def test_an_order_waits_for_a_key_that_is_elsewhere(at: LedgerPlace, tmp_path: Path) -> None:
    """Its answer is under a checkpoint, whichever store it is in."""
    async with running(tmp_path, at=at, signer=NoteSigner("ledger.test", KeyElsewhere())) as place:
        await place.decide(1)
        assert (await place.holding.add("intent", "payment.status", OFFICER)).checkpoint is not None
        assert (await place.holding.release(2, OFFICER)).checkpoint is not None
        assert (await place.erasing.erase(SUBJECT.id, REASON, OFFICER)).checkpoint is not None
        assert await place.keys.compared() == place.facts.compared()
    assert checked(at).faults == []


async def test_a_node_signs_for_what_another_has_just_appended(node: Node) -> None:
    """Where it is asked to, also before it had its turn again."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    assert two.ledger.size == 0
    await two.ledger.sign(2)
    assert two.facts.receipt(1).checkpoint is not None


async def test_an_erasure_does_not_wait_behind_a_backup(node: Node, shared: PostgresPlace, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody reads the table of keys in a long transaction: the erasure is answered, other nodes' keys are found meanwhile, and the log
    says that the table is still to be rewritten."""
    one, two = await node("one"), await node("two")
    await one.decide(1)
    with psycopg.connect(shared.subject_keys.url) as backup:
        backup.execute(f'SELECT count(*) FROM "{shared.subject_keys.schema}".keys')
        async with asyncio.timeout(leasing.LEASE_S):
            await one.erasing.erase(SUBJECT.id, REASON, OFFICER)
            await two.keys.key_for("somebody.new")
    assert "VACUUM (FULL)" in caplog.text
    assert checked(shared).faults == []
