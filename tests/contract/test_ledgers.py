"""What every ledger and every keeper of subject keys promises, run over each of them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.postgres.connection import Server
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.subject_keys import PostgresKeys
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import NoteSigner
from router.audit.tree.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from router.errors import AuditError
from router.ports import Entry

Ledger = AuditLedger | MemoryLedger
Keys = CachedSubjectKeys | MemorySubjectKeys


KINDS = ["sqlite", "memory", "postgres", *(["POSTGRES_URL"] if "POSTGRES_URL" in os.environ else [])]


def server(request: pytest.FixtureRequest) -> Server:
    """A schema of its own on the tests' server, or on the one that POSTGRES_URL names."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").server()
    return Server(os.environ["POSTGRES_URL"], f"lockgate_test_{secrets.token_hex(6)}")


@pytest.fixture(params=KINDS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    signer = NoteSigner("ledger.test", Ed25519PrivateKey.generate())
    made: Ledger
    if request.param == "memory":
        made = MemoryLedger()
    elif request.param == "sqlite":
        made = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(signer)))
    else:
        made = AuditLedger(Journal(PostgresStore(server(request), signer.verifier), Checkpointing(signer)))
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=KINDS)
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keys]:
    made: Keys
    if request.param == "memory":
        made = MemorySubjectKeys()
    elif request.param == "sqlite":
        made = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(32)))
    else:
        made = CachedSubjectKeys(PostgresKeys(server(request), bytes(32)))
    await made.open()
    yield made
    await made.close()


def entries(count: int) -> list[Entry]:
    return [system_entry("started", number) for number in range(count)]


async def test_an_empty_ledger_has_the_empty_root(ledger: Ledger) -> None:
    """RFC 6962: the hash of an empty list is the hash of an empty string."""
    assert (ledger.size, ledger.root()) == (0, EMPTY_ROOT)


async def test_indexes_count_up_from_zero(ledger: Ledger) -> None:
    """A record's index is its place in the tree."""
    assert [await ledger.append(entry) for entry in entries(3)] == [0, 1, 2]
    assert ledger.size == 3


async def test_concurrent_appends_get_every_index_once(ledger: Ledger) -> None:
    """Sharing a commit mixes nobody up."""
    assert sorted(await asyncio.gather(*map(ledger.append, entries(300)))) == list(range(300))


async def test_a_batch_stays_together_and_in_order(ledger: Ledger) -> None:
    """Many records under one future keep their order."""
    await ledger.append(entries(1)[0])
    assert await ledger.append_many(entries(600)) == list(range(1, 601))
    assert await ledger.append_many([]) == []


async def test_the_root_is_that_of_the_leaves(ledger: Ledger) -> None:
    """Two ledgers with the same leaves agree with the tree over them."""
    tree = CompactRange()
    for entry in entries(11):
        await ledger.append(entry)
        tree.append(leaf_hash(entry.leaf))
        assert ledger.root() == tree.root()


@pytest.mark.parametrize("leaf", [b"", b"{", b"[]", b"{}\n", b"{" + b" " * 65_534 + b"}"])
async def test_what_is_no_leaf_is_refused_and_harms_nobody(ledger: Ledger, leaf: bytes) -> None:
    """A malformed record fails alone; those beside it are written."""
    with pytest.raises(AuditError) as refused:
        await ledger.append(Entry(leaf))
    assert refused.value.code == "audit_record_invalid"
    assert await ledger.append(entries(1)[0]) == 0


async def test_a_closed_ledger_refuses_and_closing_twice_is_harmless(ledger: Ledger) -> None:
    """Nothing is acknowledged once the ledger is closed."""
    await ledger.ping()
    await ledger.close()
    await ledger.close()
    for attempt in (ledger.append(entries(1)[0]), ledger.ping()):
        with pytest.raises(AuditError) as refused:
            await attempt
        assert refused.value.code == "audit_closed"


async def test_an_opened_ledger_goes_on_where_it_was(ledger: Ledger) -> None:
    """Closing and opening neither loses nor repeats an index."""
    await ledger.append_many(entries(5))
    root = ledger.root()
    await ledger.close()
    await ledger.open()
    assert (ledger.size, ledger.root()) == (5, root)
    assert await ledger.append(entries(1)[0]) == 5


async def test_a_caller_that_gives_up_disturbs_no_other(ledger: Ledger) -> None:
    """A cancelled append may or may not be in the ledger; its neighbours are."""
    doomed = asyncio.ensure_future(ledger.append(entries(1)[0]))
    others = [asyncio.ensure_future(ledger.append(entry)) for entry in entries(20)]
    await asyncio.sleep(0)
    doomed.cancel()
    assert len({*await asyncio.gather(*others)}) == 20


async def test_a_subject_keeps_its_key(keys: Keys) -> None:
    """One subject, one key, for good."""
    first = await keys.key_for("anna")
    assert first == await keys.key_for("anna")
    assert len(first[1]) == 32


async def test_two_subjects_share_nothing(keys: Keys) -> None:
    """Erasing one must leave the other readable."""
    anna, bo = await asyncio.gather(keys.key_for("anna"), keys.key_for("bo"))
    assert anna[0] != bo[0]
    assert anna[1] != bo[1]


async def test_many_new_subjects_at_once_each_get_one_key(keys: Keys) -> None:
    """Concurrent first requests of one subject do not make two keys."""
    got = await asyncio.gather(*(keys.key_for(f"subject-{number % 50}") for number in range(200)))
    assert len({key_id for key_id, _ in got}) == 50


async def test_a_destroyed_key_is_nowhere_and_its_subject_gets_another(keys: Keys) -> None:
    """By subject, by id and from the cache; others keep theirs, and destroying it once more is harmless."""
    (anna, old), (bo, _) = await keys.key_for("anna"), await keys.key_for("bo")
    for _ in range(2):
        await keys.destroy(anna)
    assert (await keys.find("anna"), await keys.key(anna), await keys.present([anna, bo])) == (None, None, [bo])
    again, new = await keys.key_for("anna")
    assert again != anna
    assert new != old
    assert (await keys.key_for("bo"))[0] == bo


async def test_a_key_is_found_by_subject_and_by_id(keys: Keys) -> None:
    """Queries go from the subject to the key's id, readers from the id to the key."""
    key_id, key = await keys.key_for("anna")
    assert await keys.find("anna") == key_id
    assert await keys.key(key_id) == key
    assert await keys.find("nobody") is None
    assert await keys.key("00") is None
