"""The signed index over every store; and signed by two nodes at once where there can be several."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from adapters.postgres.place import PostgresPlace
from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.place import SqlitePlace
from router.audit.checking.lookup import certify_lookup, check_lookup, sought
from router.audit.checking.sections import check_sections, together
from router.audit.journal import Checkpointing, Journal
from router.audit.lookups.chain import EVENT
from router.audit.lookups.upkeep import Sections
from router.audit.questions.query import Query
from router.audit.questions.reader import Stored
from router.audit.records.record import system_entry
from router.wiring.ledger_place import LedgerPlace
from tests.postgres_server import PostgresServer
from tests.unit.audit.ledgers import SIGNER
from tests.unit.audit.sections import PEOPLE, SMALLEST, decided

PERSON = next(iter(PEOPLE))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LedgerPlace:
    if request.param == "sqlite":
        return SqlitePlace(tmp_path)
    server = request.getfixturevalue("postgres")
    return PostgresPlace(server.server(), server.server())


def node(stack: ExitStack, place: LedgerPlace, folder: Path) -> tuple[Journal, Sections]:
    made = Journal(place.store(SIGNER.verifier), Checkpointing(SIGNER, None, 3600, 2**40))
    made.open()
    stack.callback(made.close)
    return made, sections(stack, place, folder)


def sections(stack: ExitStack, place: LedgerPlace, folder: Path) -> Sections:
    reader = stack.enter_context(closing(place.reader(Stored)))
    return Sections(reader, stack.enter_context(closing(SqliteIndex(folder / "index.sqlite"))), folder / "sections")


def sign(journal: Journal, kept: Sections) -> None:
    again = False
    while (told := kept.next(SMALLEST, again=again)) is not None:
        journal.append([system_entry(EVENT, 1, told)])
        again = True


def found(kept: Sections, query: Query) -> list[int]:
    asked = sought(query)
    assert asked is not None
    return [record for record, _ in check_lookup(list(certify_lookup(kept, asked)), SIGNER.verifier)[1]]


def test_an_answer_about_a_person_is_whole(place: LedgerPlace, tmp_path: Path) -> None:
    """Also when what was sealed has gone since, which the index does not need."""
    with ExitStack() as stack:
        journal, kept = node(stack, place, tmp_path)
        for number in range(40):
            journal.append(decided(number))
        sign(journal, kept)
        journal.sign_checkpoint()
        mine = [record for record in range(80) if record // 2 % len(PEOPLE) == 0]
        assert found(kept, Query(key_id=PERSON)) == mine
        journal.append([system_entry("pruned", 1)], pruning=mine[:10])
        journal.sign_checkpoint()
        assert found(kept, Query(key_id=PERSON)) == mine
        faults = [check_sections(partial(place.reader, Stored), each) for each in together(kept.chain())]
        assert faults == [[]] * len(faults)
        assert faults


def test_two_nodes_may_sign_the_same_section(postgres: PostgresServer, tmp_path: Path) -> None:
    """Neither knows of the other's in time; both go on from either."""
    shared = PostgresPlace(postgres.server(), postgres.server())
    with ExitStack() as stack:
        (one, first), (other, second) = (node(stack, shared, tmp_path / name) for name in ("a", "b"))
        for number in range(20):
            (one, other)[number % 2].append(decided(number))
        told = [each.next(SMALLEST) for each in (first, second)]
        assert told[0] == told[1]
        for journal, details in ((one, told[0]), (other, told[1])):
            journal.append([system_entry(EVENT, 1, details)])
        sign(other, second)
        sign(one, first)
        other.sign_checkpoint()
        assert [found(each, Query(key_id=PERSON)) for each in (first, second)] == [[0, 1, 10, 11, 20, 21, 30, 31]] * 2


def test_two_nodes_that_sign_in_turns_sign_each_section_once(postgres: PostgresServer, tmp_path: Path) -> None:
    """Many are due for both. Each sees what the other signed since, without the index."""
    shared = PostgresPlace(postgres.server(), postgres.server())
    with ExitStack() as stack:
        nodes = [node(stack, shared, tmp_path / name) for name in ("a", "b")]
        for number in range(60):
            nodes[0][0].append(decided(number))
        ended, turn, made = 0, 0, list[tuple[int, int]]()
        while ended < 2:
            journal, kept = nodes[turn % 2]
            told = kept.next(SMALLEST, again=turn > 1)
            ended, turn = ended + 1 if told is None else 0, turn + 1
            if told is not None:
                made.append((told["start"], told["end"]))
                journal.append([system_entry(EVENT, 1, told)])
        assert len(made) == len(set(made)) > 10
        assert nodes[0][1].chain() == nodes[1][1].chain()
