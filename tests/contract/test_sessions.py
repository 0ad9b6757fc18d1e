"""What every store of sessions promises, over each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from adapters.memory_sessions import MemorySessions
from adapters.postgres.sessions import PostgresSessions
from adapters.sqlite.sessions import SqliteSessions
from router.decision import Subject
from router.errors import StateError
from router.ports import Session, Sessions, Which
from tests.unit.identity.parts import NOW, SECOND

OLGA = Subject("olga", "user", ("operator",), ("ops",), "halden", {}, "session")


def session(name: str, subject: Subject = OLGA, created_ns: int = NOW, **more: object) -> Session:
    times = (created_ns, created_ns, created_ns + 60 * SECOND, created_ns, created_ns)
    return replace(Session(sha256(name.encode()).digest(), subject, *times), **more)  # type: ignore[arg-type]  # whatever a test wants


Another = Callable[[], Sessions]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Another]:
    """Opens the same store once more, as another process does; in memory there is but one."""
    server = request.getfixturevalue("postgres").server() if request.param == "postgres" else None
    alone = MemorySessions()
    with ExitStack() as stack:

        def opened() -> Sessions:
            made: Sessions = alone
            if request.param == "sqlite":
                made = SqliteSessions(tmp_path / "state" / "sessions.sqlite")
            elif server is not None:
                made = PostgresSessions(server)
            made.open()
            stack.callback(made.close)
            return made

        yield opened


def test_a_session_is_whole_wherever_it_is_found(another: Another) -> None:
    """Every field, for another process at once."""
    by_ada = replace(OLGA, claims={"act": {"sub": "ada", "act": {"sub": "robot"}}})
    full = session(
        "a", by_ada, issuer="https://id.example", issuer_session="s1", methods=("pwd", "otp"), network="203.0.113.0/24", browser="Firefox"
    )
    assert another().add(full, 5) == []
    assert another().find(full.digest) == full
    assert another().find(session("b").digest) is None


def test_an_ended_session_is_gone_and_stays_gone(another: Another) -> None:
    """Ended by one it is ended for all; who still uses it does not bring it back."""
    one, two, kept = another(), another(), session("kept")
    for each in (session("a"), kept):
        one.add(each, 5)
    assert [each.id for each in two.end(Which(digest=session("a").digest))] == [session("a").id]
    one.use(session("a").digest, NOW + SECOND)
    assert one.all() == [kept]
    assert two.end(Which(digest=session("a").digest)) == []


def test_one_that_is_ending_is_no_session_and_is_named_until_it_is_forgotten(another: Another) -> None:
    """However often it is begun, and whoever signs in meanwhile; of those that nobody comes back for nothing is left after a day."""
    one, two = another(), another()
    gone, later = session("a", issuer="i", issuer_session="1"), session("late", replace(OLGA, id="eve"), NOW + 120 * SECOND)
    one.add(gone, 5)
    for store in (one, two):
        assert [(each.id, each.expires_ns) for each in store.ending(Which(issuer="i", issuer_session="1"))] == [(gone.id, 0)]
    two.add(later, 5)
    assert [each.id for each in one.ending(Which(digest=gone.digest))] == [gone.id]
    assert one.ending(Which()) == []
    one.add(session("new", created_ns=NOW + 180 * SECOND), 1)  # it takes nobody's place
    assert [each.id for each in two.end(Which(digest=gone.digest))] == [gone.id]
    two.ending(Which(digest=later.digest))
    two.add(session("next day", created_ns=NOW + 200_000 * SECOND), 5)
    assert [each.id for each in one.all()] == [session("next day").id]


def test_those_that_fit_end_and_no_others(another: Another) -> None:
    """By person, by provider's session; a question that names nothing ends nothing."""
    store = another()
    eve = replace(OLGA, id="eve")
    told = [
        session("a"),
        session("b", eve),
        session("c", issuer="i", issuer_session="1"),
        session("d", eve, issuer="i", issuer_session="2"),
    ]
    for each in told:
        store.add(each, 5)
    assert store.end(Which()) == []
    assert store.end(Which(issuer="other", issuer_session="1")) == []
    assert store.end(Which(issuer="i", issuer_session="1")) == [told[2]]
    assert {each.digest for each in store.end(Which(subject="eve"))} == {told[1].digest, told[3].digest}
    assert store.all() == [told[0]]


def test_the_oldest_go_where_there_are_too_many(another: Another) -> None:
    """Of that person only; never the one that was just made, even by a clock that went back."""
    store = another()
    other = session("other", replace(OLGA, id="eve"))
    store.add(other, 2)
    first, second = session("1", created_ns=NOW), session("2", created_ns=NOW + 1)
    assert [*store.add(first, 2), *store.add(second, 2)] == []
    assert store.add(session("3", created_ns=NOW - 1), 2) == [first]
    assert {each.digest for each in store.all()} == {each.digest for each in (other, second, session("3"))}


def test_one_takes_anothers_place(another: Another) -> None:
    """Rotation: the old one is gone in the step that makes the new one."""
    store = another()
    store.add(session("old"), 5)
    assert store.add(session("new"), 5, instead=session("old").digest) == []
    assert [each.digest for each in store.all()] == [session("new").digest]


def test_expired_ones_are_forgotten_when_the_next_is_made(another: Another) -> None:
    """Nobody's list of sessions grows for ever."""
    store = another()
    store.add(session("old"), 5)
    later = session("late", replace(OLGA, id="eve"), NOW + 60 * SECOND)
    store.add(later, 5)
    assert store.all() == [later]


def test_use_is_noted_and_never_goes_back(another: Another) -> None:
    """Whatever the order in which two requests are noted."""
    store = another()
    store.add(session("a"), 5)
    store.use(session("a").digest, NOW + 2)
    store.use(session("a").digest, NOW + 1)
    found = store.find(session("a").digest)
    assert found is not None
    assert found.used_ns == NOW + 2


def test_a_mark_is_spent_once_however_many_try(another: Another) -> None:
    """Eight at the same time: one succeeds; once its time is over it is forgotten."""
    stores = [another() for _ in range(8)]
    won: list[bool] = []
    threads = [threading.Thread(target=lambda store=store: won.append(store.spend(b"m", NOW + SECOND, NOW))) for store in stores]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(won) == [False] * 7 + [True]
    assert [store.spent(b"m", NOW) for store in stores] == [True] * 8
    assert [store.spent(mark, at) for store in stores for mark, at in ((b"n", NOW), (b"m", NOW + SECOND))] == [False] * 16
    assert stores[0].spend(b"m", NOW + 9 * SECOND, NOW + 2 * SECOND)


def test_a_closed_store_says_so_and_closes_twice(another: Another) -> None:
    """Closing is idempotent; asking afterwards is a StateError."""
    store = another()
    store.ping()
    store.close()
    store.close()
    with pytest.raises(StateError):
        store.find(b"x")
