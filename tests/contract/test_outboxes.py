"""What lies beside a ledger's records: durable with them or not at all, an event once, a delivery until it is settled."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_outbox import MemoryOutbox
from adapters.postgres.ledger import PostgresStore
from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.outbox import Outbox
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.errors import AuditError
from router.ports import Arrival, Delivery, Due, Entry, Settled
from tests.contract.test_ledgers import KINDS, server


@dataclass(frozen=True, slots=True)
class Beside:
    ledger: AuditLedger | MemoryLedger
    outbox: Outbox | MemoryOutbox
    keys: MemorySubjectKeys


@pytest.fixture(params=KINDS)
async def beside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Beside]:
    signer, keys = NoteSigner("ledger.test", Ed25519PrivateKey.generate()), MemorySubjectKeys()
    if request.param == "memory":
        twin = MemoryLedger()
        await twin.open()
        yield Beside(twin, MemoryOutbox(twin, keys), keys)
        return
    store = SqliteStore(tmp_path / "ledger.sqlite") if request.param == "sqlite" else PostgresStore(server(request), signer.verifier)
    ledger = AuditLedger(Journal(store, Checkpointing(signer)))
    await ledger.open()
    yield Beside(ledger, Outbox(ledger, keys), keys)
    await ledger.close()


def delivery(name: str, *, order: bytes = b"", due_ns: int = 10, owner: str = "", leased_ns: int = 0, key_id: str = "k") -> Delivery:
    return Delivery(name, "orders", "shop", Due.DISPATCH, key_id, b"\x00sealed", 5, due_ns, 10**18, order, owner, leased_ns)


def entry(
    *, arrival: bytes | None = None, answer: bytes = b"first", deliver: Delivery | None = None, settled: Settled | None = None
) -> Entry:
    made = system_entry("started", 1)
    return Entry(made.leaf, arrival=None if arrival is None else Arrival(arrival, answer), delivery=deliver, settled=settled)


async def refusal(attempt: object) -> str:
    with pytest.raises(AuditError) as refused:
        await attempt  # type: ignore[misc]
    return refused.value.code


async def leased(beside: Beside, owner: str = "me", now_ns: int = 100, until_ns: int = 200, limit: int = 10) -> list[str]:
    return [each.id for each, _ in await beside.outbox.lease(owner, now_ns, until_ns, limit)]


async def test_an_event_is_decided_once_and_its_first_answer_stays(beside: Beside) -> None:
    key = secrets.token_bytes(32)
    assert await beside.ledger.append(entry(arrival=key)) == 0
    assert await refusal(beside.ledger.append(entry(arrival=key, answer=b"second"))) == "event_known"
    assert await beside.outbox.answer(key) == b"first"
    assert beside.ledger.size == 1
    assert await beside.outbox.answer(b"x" * 32) is None


async def test_what_is_refused_leaves_no_delivery_and_its_neighbours_are_written(beside: Beside) -> None:
    key = secrets.token_bytes(32)
    await beside.ledger.append(entry(arrival=key))
    batch = [entry(), entry(arrival=key, deliver=delivery("lost")), entry(arrival=b"n" * 32, deliver=delivery("kept")), entry()]
    assert await beside.ledger.append_many(batch) == [1, -1, 2, 3]
    assert await leased(beside) == ["kept"]


async def test_of_two_alike_in_one_commit_the_first_is_decided(beside: Beside) -> None:
    key = secrets.token_bytes(32)
    answers = await asyncio.gather(
        *(beside.ledger.append(entry(arrival=key, answer=b"%d" % place)) for place in range(20)), return_exceptions=True
    )
    assert [each for each in answers if isinstance(each, int)] == [0]
    assert {each.code for each in answers if isinstance(each, AuditError)} == {"event_known"}
    assert await beside.outbox.answer(key) == b"0"


async def test_a_batch_of_nothing_but_known_events_writes_nothing(beside: Beside) -> None:
    await beside.ledger.append(entry(arrival=b"k" * 32))
    assert await beside.ledger.append_many([entry(arrival=b"k" * 32)] * 3) == [-1, -1, -1]
    assert beside.ledger.size == 1
    assert await beside.ledger.append(entry()) == 1


async def test_a_delivery_waits_until_it_is_due_and_nobody_has_it(beside: Beside) -> None:
    await beside.ledger.append(entry(deliver=delivery("mine", owner="me", leased_ns=50)))
    await beside.ledger.append(entry(deliver=delivery("later", due_ns=150)))
    assert await leased(beside, "you", 49, 90) == []
    assert await leased(beside, "you", 50, 90) == ["mine"]
    assert await leased(beside, "me", 89, 300) == []
    assert await leased(beside, "me", 150, 300) == ["mine", "later"]
    assert (await beside.outbox.pending()).count == 2


async def test_a_delivery_is_leased_to_one_of_many(beside: Beside) -> None:
    await beside.ledger.append_many([entry(deliver=delivery(f"d{number}")) for number in range(40)])
    taken = await asyncio.gather(*(leased(beside, f"w{number}", limit=7) for number in range(8)))
    assert sorted(each for some in taken for each in some) == sorted(f"d{number}" for number in range(40))
    assert all(len(some) <= 7 for some in taken)


async def test_what_is_settled_is_gone_with_the_record_that_says_so(beside: Beside) -> None:
    await beside.ledger.append(entry(deliver=delivery("a")))
    await beside.ledger.append(entry(settled=Settled("a")))
    assert await leased(beside) == []
    assert (await beside.outbox.pending()).count == 0
    await beside.ledger.append(entry(settled=Settled("a")))  # somebody else was slower, and did it too: on record, and nothing more
    assert beside.ledger.size == 3


async def test_of_one_order_only_the_first_is_taken(beside: Beside) -> None:
    await beside.ledger.append_many([entry(deliver=delivery(f"{lane}{place}", order=lane.encode())) for place in range(3) for lane in "ab"])
    assert sorted(await leased(beside)) == ["a0", "b0"]
    await beside.ledger.append(entry(settled=Settled("a0")))
    assert await leased(beside) == ["a1"]
    assert await beside.outbox.postpone("me", "b0", 1, 500, "connect_failed")
    assert await leased(beside) == []
    await beside.ledger.append(entry(settled=Settled("a1", dead=True)))
    assert sorted(await leased(beside, now_ns=500, until_ns=900)) == ["a2", "b0"]


async def test_a_postponed_delivery_is_nobodys_and_remembers_why(beside: Beside) -> None:
    await beside.ledger.append(entry(deliver=delivery("a")))
    assert await leased(beside) == ["a"]
    assert not await beside.outbox.postpone("you", "a", 1, 500, "x")
    assert await beside.outbox.postpone("me", "a", 3, 500, "connect_failed")
    assert not await beside.outbox.postpone("me", "a", 4, 500, "again")
    found = await beside.outbox.find("a")
    assert found is not None
    assert (found.delivery.attempts, found.delivery.reason, found.delivery.due_ns, found.delivery.owner) == (3, "connect_failed", 500, "")
    assert await leased(beside, now_ns=499) == []
    assert await leased(beside, now_ns=500, until_ns=900) == ["a"]


async def test_a_lease_is_renewed_by_its_owner_alone(beside: Beside) -> None:
    await beside.ledger.append_many([entry(deliver=delivery("a")), entry(deliver=delivery("b"))])
    await leased(beside, "me", 100, 200)
    assert list(await beside.outbox.renew("me", ["a", "zz"], 400)) == ["a"]
    assert list(await beside.outbox.renew("you", ["b"], 400)) == []
    assert await leased(beside, "you", 300, 500) == ["b"]


async def test_what_has_no_outcome_to_record_is_removed_by_its_owner(beside: Beside) -> None:
    await beside.ledger.append(entry(deliver=delivery("a")))
    await leased(beside, "me")
    assert not await beside.outbox.done("you", "a")
    assert await beside.outbox.done("me", "a")
    assert not await beside.outbox.done("me", "a")
    assert (await beside.outbox.pending()).count == 0


async def test_the_dead_are_kept_until_a_person_revives_or_drops_them(beside: Beside) -> None:
    await beside.ledger.append_many([entry(deliver=delivery(name)) for name in ("a", "b", "c")])
    await beside.ledger.append_many([entry(settled=Settled("a", dead=True)), entry(settled=Settled("b", dead=True))])
    assert await leased(beside, until_ns=10**9) == ["c"]
    assert (await beside.outbox.pending()).dead == 2
    assert [each.delivery.id for each in await beside.outbox.page(-1, 10, dead=True)] == ["a", "b"]
    assert [each.delivery.id for each in await beside.outbox.page(-1, 10, dead=False)] == ["c"]
    assert await beside.outbox.revive("a", 100, 10**18)
    assert not await beside.outbox.revive("c", 100, 10**18)
    assert await leased(beside) == ["a"]
    assert await beside.outbox.drop("b")
    assert not await beside.outbox.drop("a")
    assert await beside.outbox.find("b") is None
    assert (await beside.outbox.pending()).dead == 0


async def test_the_dead_say_after_how_many_attempts_and_why(beside: Beside) -> None:
    await beside.ledger.append(entry(deliver=delivery("a")))
    await beside.ledger.append(entry(settled=Settled("a", dead=True, attempts=7, reason="status_503")))
    found = await beside.outbox.find("a")
    assert found is not None
    assert (found.dead, found.delivery.attempts, found.delivery.reason) == (True, 7, "status_503")


def lane(order: bytes) -> bytes:
    return b"\x01" + hashlib.sha256(b"keyed" + order).digest()


async def test_orders_of_the_release_before_are_gone_on_with_under_other_names(beside: Beside) -> None:
    """Nothing overtakes: what was taken, what waits behind it, what was given up and is had again, and what comes after it."""
    orders = [hashlib.sha256(name).digest() for name in (b"a", b"b")]
    for place in range(4):
        for name, order in zip("ab", orders, strict=True):
            await beside.ledger.append(entry(deliver=delivery(f"{name}{place}", order=order)))
    await beside.ledger.append_many([entry(deliver=delivery("free")), entry(deliver=delivery("c0", order=b"\x01" + bytes(32)))])
    assert sorted(await leased(beside)) == ["a0", "b0", "c0", "free"]
    await beside.ledger.append(entry(settled=Settled("a0", dead=True)))
    assert [await beside.outbox.rename_lanes(lane) for _ in range(2)] == [8, 0]
    kept = {each.delivery.id: each.delivery.order for each in await beside.outbox.page(-1, 99, dead=None)}
    assert [name for name, order in kept.items() if order in orders] == []
    assert (kept["a0"], kept["b3"], kept["free"], kept["c0"]) == (lane(orders[0]), lane(orders[1]), b"", b"\x01" + bytes(32))
    await beside.ledger.append_many([entry(deliver=delivery("a4", order=lane(orders[0]))), entry(deliver=delivery("d0", order=lane(b"d")))])
    assert await leased(beside) == ["a1", "d0"]
    assert await beside.outbox.revive("a0", 100, 10**18)
    assert await leased(beside) == ["a0"]
    went = list[str]()
    for ended in ("a1", "a0", "a2", "a3", "b0", "b1", "b2", "b3"):
        await beside.ledger.append(entry(settled=Settled(ended)))
        went += await leased(beside)
    assert went == ["a2", "a3", "a4", "b1", "b2", "b3"]


async def test_many_orders_get_other_names_at_once(beside: Beside) -> None:
    """Of more than one step has."""
    orders = [hashlib.sha256(b"%d" % number).digest() for number in range(2500)]
    await beside.ledger.append_many([entry(deliver=delivery(f"d{number}", order=order)) for number, order in enumerate(orders)])
    assert await beside.outbox.rename_lanes(lane) == len(orders)
    found = await beside.outbox.page(-1, len(orders), dead=None)
    assert [each.delivery.order for each in found] == [lane(order) for order in orders]


async def test_large_deliveries_are_leased_a_few_at_a_time(beside: Beside) -> None:
    """What is leased has to fit into one call to a worker; the rest comes with the next one, and a larger one alone."""
    if isinstance(beside.ledger, MemoryLedger):
        pytest.skip("nobody calls the twin")
    sizes = (6, 6, 6, 20)
    large = [replace(delivery(f"d{place}", due_ns=place), sealed=bytes(size * 2**20)) for place, size in enumerate(sizes)]
    await beside.ledger.append_many([entry(deliver=each) for each in large])
    assert [await leased(beside) for _ in range(4)] == [["d0", "d1"], ["d2"], ["d3"], []]


async def test_what_was_settled_twice_harms_nobody(beside: Beside) -> None:
    """A lease that lapsed may mean two sendings, and two records of how they ended."""
    await beside.ledger.append_many([entry(deliver=delivery("a", order=b"o")), entry(deliver=delivery("b", order=b"o"))])
    for settled in (Settled("a", dead=True), Settled("a"), Settled("a"), Settled("a", dead=True)):
        await beside.ledger.append(entry(settled=settled))
    assert beside.ledger.size == 6
    assert await leased(beside) == ["b"]


async def test_of_many_that_race_for_one_event_one_gets_it(beside: Beside) -> None:
    """Whoever shares a commit with them is written, each at an index of its own."""
    raced = [beside.ledger.append(entry(arrival=bytes(32))) for _ in range(20)]
    others = [beside.ledger.append(entry()) for _ in range(20)]
    found = await asyncio.gather(*raced, *others, return_exceptions=True)
    assert sum(isinstance(each, AuditError) for each in found) == 19
    assert sorted(each for each in found if isinstance(each, int)) == list(range(21))


async def test_pages_go_on_where_the_last_one_ended(beside: Beside) -> None:
    await beside.ledger.append_many([entry(deliver=delivery(f"d{number}")) for number in range(5)])
    first = await beside.outbox.page(-1, 3, dead=None)
    rest = await beside.outbox.page(first[-1].number, 3, dead=None)
    assert [each.delivery.id for each in (*first, *rest)] == [f"d{number}" for number in range(5)]


async def test_a_tenants_pages_have_what_is_that_tenants(beside: Beside) -> None:
    """Whatever the cursor, and whatever its name is made of; what says of nobody whose it is, is nobody's."""
    whose = ["lund", None, "odd\x00\ud800", "lund", "Lund", "odd\x00\ud800", "lund"]
    given = [replace(delivery(f"d{number}"), tenant=tenant) for number, tenant in enumerate(whose)]
    await beside.ledger.append_many([entry(deliver=each) for each in given])
    await beside.ledger.append(entry(settled=Settled("d3", dead=True)))

    async def found(tenant: str | None, after: int = -1, limit: int = 9, dead: bool | None = None) -> list[str]:
        return [each.delivery.id for each in await beside.outbox.page(after, limit, dead=dead, tenant=tenant)]

    everything = await beside.outbox.page(-1, 9, dead=None)
    assert [each.delivery.tenant for each in everything] == whose
    assert (await found("lund"), await found("odd\x00\ud800"), await found("nobody"), await found("")) == (
        ["d0", "d3", "d6"],
        ["d2", "d5"],
        [],
        [],
    )
    assert (await found("lund", dead=True), await found("lund", dead=False)) == (["d3"], ["d0", "d6"])
    assert await found("lund", everything[0].number, 1) == ["d3"]
    assert await found("Lund", everything[1].number) == ["d4"]
    taken = await beside.outbox.lease("me", 100, 200, 1)
    assert taken[0][0].tenant == "lund"


async def test_the_subjects_key_comes_along_while_there_is_one(beside: Beside) -> None:
    key_id, key = await beside.keys.key_for("anna")
    await beside.ledger.append_many([entry(deliver=delivery("a", key_id=key_id)), entry(deliver=delivery("b", key_id="destroyed"))])
    found = await beside.outbox.lease("me", 100, 200, 10)
    assert [(each.id, given) for each, given in found] == [("a", key), ("b", b"")]
    assert found[0][0].sealed == b"\x00sealed"


async def test_events_are_forgotten_after_a_while(beside: Beside) -> None:
    await beside.ledger.append_many([entry(arrival=bytes([number]) * 32) for number in range(10)])
    assert await beside.outbox.forget(1) == 0
    assert await beside.outbox.forget(2**62) == 10
    assert await beside.outbox.answer(bytes(32)) is None
    assert await beside.ledger.append(entry(arrival=bytes(32))) == 10


async def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    signer = NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    for _ in range(2):
        ledger = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(signer)))
        await ledger.open()
        outbox = Outbox(ledger, MemorySubjectKeys())
        if ledger.size == 0:
            await ledger.append(entry(arrival=b"k" * 32, deliver=delivery("a")))
        else:
            assert await refusal(ledger.append(entry(arrival=b"k" * 32))) == "event_known"
            assert [each.id for each, _ in await outbox.lease("me", 100, 200, 10)] == ["a"]
        await ledger.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("memory", "sqlite")])
async def test_two_nodes_race_for_one_event_and_for_one_delivery(kind: str, request: pytest.FixtureRequest) -> None:
    request.param = kind  # type: ignore[attr-defined]
    place, signer = server(request), NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    ledgers = [AuditLedger(Journal(PostgresStore(place, signer.verifier), Checkpointing(signer))) for _ in range(2)]
    for ledger in ledgers:
        await ledger.open()
    outboxes = [Outbox(ledger, MemorySubjectKeys()) for ledger in ledgers]
    for number in range(20):
        key = secrets.token_bytes(32)
        wanted = [entry(arrival=key, answer=b"%d" % node, deliver=delivery(f"{number}-{node}")) for node in range(2)]
        answers = await asyncio.gather(*(ledger.append(one) for ledger, one in zip(ledgers, wanted, strict=True)), return_exceptions=True)
        won = next(node for node, each in enumerate(answers) if isinstance(each, int))
        assert isinstance(answers[1 - won], AuditError)
        assert await outboxes[1 - won].answer(key) == b"%d" % won
        taken = await asyncio.gather(*(outbox.lease(f"n{node}", 100, 200, 5) for node, outbox in enumerate(outboxes)))
        assert [each.id for some in taken for each, _ in some] == [f"{number}-{won}"]
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


@pytest.mark.parametrize("dead", [True, False])
async def test_who_was_late_and_failed_ends_nothing_that_somebody_else_took_up(beside: Beside, dead: bool) -> None:
    """Its record stands. Who succeeded ends it whoever has it, and so does who failed and still has it."""
    await beside.ledger.append(entry(deliver=delivery("d1")))
    await beside.ledger.append(entry(deliver=delivery("d2")))
    assert await leased(beside, "slow", until_ns=150) == ["d1", "d2"]
    assert await leased(beside, "quick", now_ns=160, until_ns=300) == ["d1", "d2"]
    size = beside.ledger.size
    await beside.ledger.append(entry(settled=Settled("d1", dead, 3, "delivery_refused", "slow")))
    assert beside.ledger.size == size + 1
    found = await beside.outbox.find("d1")
    assert found is not None
    assert (found.dead, found.delivery.owner, found.delivery.attempts) == (False, "quick", 0)
    assert not await beside.outbox.postpone("slow", "d1", 9, 0, "late")
    await beside.ledger.append(entry(settled=Settled("d1")))
    assert await beside.outbox.find("d1") is None
    await beside.ledger.append(entry(settled=Settled("d2", dead, 3, "delivery_refused", "quick")))
    ended = await beside.outbox.find("d2")
    assert (ended is not None and ended.dead) == dead


LANES = (b"", b"a" * 32, b"b" * 32, b"c" * 32)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_to_orders_the_first_of_each_can_be_taken_and_no_other(beside: Beside, seed: int) -> None:
    """A walk of chance: whatever is added, ended, given up, put off, had again or dropped, the twin says who is first."""
    chance, twin = random.Random(seed), MemoryLedger()
    await twin.open()
    other = MemoryOutbox(twin, MemorySubjectKeys())
    taken, dead, made, now = list[str](), list[str](), 0, 1000
    for _ in range(80):
        now += 10
        what = chance.choice(("add", "add", "add", "end", "end", "late", "later", "again", "drop"))
        if what == "add":
            new = delivery(f"d{made}", order=chance.choice(LANES), due_ns=now)
            made += 1
            for each in (beside.ledger, twin):
                await each.append(entry(deliver=new))
        elif what == "again" and dead:
            name = dead.pop(chance.randrange(len(dead)))
            assert [await each.revive(name, now, 10**18) for each in (beside.outbox, other)] == [True, True]
        elif what == "drop" and dead:
            name = dead.pop()
            assert [await each.drop(name) for each in (beside.outbox, other)] == [True, True]
        elif taken:
            name = taken.pop(chance.randrange(len(taken)))
            gone = chance.random() < 0.4
            if what == "later":
                assert [await each.postpone("me", name, 1, now + 15, "x") for each in (beside.outbox, other)] == [True, True]
            else:
                ended = Settled(name, gone, 1, "x", "me" if what == "end" else "somebody else")
                for each in (beside.ledger, twin):
                    await each.append(entry(settled=ended))
                dead += [name] if gone and what == "end" else []
                taken += [name] if what != "end" else []
        found, wanted = [[each.id for each, _ in await box.lease("me", now, 10**17, 1000)] for box in (beside.outbox, other)]
        assert sorted(found) == sorted(wanted)
        taken += found
    taken += [each.id for each, _ in await beside.outbox.lease("me", 10**16, 10**17, 1000)]
    while taken:  # whoever goes on comes to the end of each
        await beside.ledger.append(entry(settled=Settled(taken.pop())))
        taken += [each.id for each, _ in await beside.outbox.lease("me", 10**16, 10**17, 1000)]
    assert (await beside.outbox.pending()).count == 0
