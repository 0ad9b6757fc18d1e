"""Nodes that exchange the secret which they have in common: those with the former, with both and with the new one alone, on one server. Of
two that may serve side by side, each knows what the other did."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.redis_state import kept
from adapters.redis_state.conversations import RedisConversations
from adapters.redis_state.kept import Kept
from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.link import Part
from adapters.redis_state.marks import RedisMarks
from adapters.redis_state.names import Names
from adapters.redis_state.quotas import RedisQuotas
from adapters.redis_state.repeats import RedisRepeats
from adapters.redis_state.state import RedisState, Script
from adapters.redis_state.tallies import RedisTallies
from router.errors import ConfigError, StateError
from router.ports import Draw, Quota, Turn
from router.secret import Secret
from tests.contract.redis_by_hand import ByHand, OneByOne, Unheard, settings
from tests.redis_server import RedisServer

OLD, NEW = b"the former one", b"the new one"
ANSWER = b"done"
BESIDE = [("old", "both"), ("both", "old"), ("both", "both"), ("both", "new"), ("new", "both")]
beside = pytest.mark.parametrize(("first", "second"), BESIDE)


class Nodes:
    """One of each kind, all as a single server or as a cluster is asked."""

    def __init__(self, server: RedisServer, kind: type[ByHand]) -> None:
        prefix = f"t{secrets.token_hex(8)}"
        self.keys: dict[str, tuple[bytes, bytes | None]] = {"old": (OLD, None), "both": (NEW, OLD), "new": (NEW, None)}
        self.states = {name: kind(server, lambda: 0) for name in self.keys}
        for name, state in self.states.items():
            state.names = Names(prefix, *self.keys[name])

    def repeats(self, name: str) -> RedisRepeats:
        return RedisRepeats(self.states[name], *self.keys[name])


@pytest.fixture(params=[ByHand, OneByOne])
async def nodes(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Nodes]:
    made = Nodes(redis_server, request.param)
    for state in made.states.values():
        await state.open()
    yield made
    for state in made.states.values():
        await state.close()


@beside
async def test_a_request_is_done_once(nodes: Nodes, first: str, second: str) -> None:
    """Whichever of two nodes had it first, and its answer comes from both."""
    one, two = nodes.repeats(first), nodes.repeats(second)
    assert await one.begin("k", "f", "one", 60) == (Turn.FIRST, b"")
    assert await two.begin("k", "f", "two", 60) == (Turn.UNDER_WAY, b"")
    assert await two.begin("k", "g", "two", 60) == (Turn.OTHER, b"")
    await one.end("k", "one", ANSWER, 60)
    assert await two.begin("k", "f", "two", 60) == (Turn.ANSWERED, ANSWER)


@beside
async def test_of_many_at_once_one_is_the_first(nodes: Nodes, first: str, second: str) -> None:
    """All claim in one order."""
    made = itertools.cycle([nodes.repeats(first), nodes.repeats(second)])
    turns = await asyncio.gather(*(next(made).begin("k", "f", str(number), 60) for number in range(30)))
    assert [turn for turn, _ in turns].count(Turn.FIRST) == 1


async def test_one_that_was_claimed_elsewhere_stays_claimed_nowhere(nodes: Nodes) -> None:
    """What a node took under the former name before it heard that the other is taken, it gives back."""
    await nodes.repeats("new").begin("k", "f", "one", 60)
    assert await nodes.repeats("both").begin("k", "f", "two", 60) == (Turn.UNDER_WAY, b"")
    assert await nodes.repeats("old").begin("k", "f", "three", 60) == (Turn.FIRST, b"")


@beside
async def test_who_releases_makes_room_on_both(nodes: Nodes, first: str, second: str) -> None:
    await nodes.repeats(first).begin("k", "f", "one", 60)
    await nodes.repeats(first).release("k", "one")
    assert await nodes.repeats(second).begin("k", "f", "two", 60) == (Turn.FIRST, b"")


@pytest.mark.parametrize("which", ["old", "new"])
async def test_where_one_name_cannot_be_asked_about_the_other_is_ended_all_the_same(
    nodes: Nodes, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears that a claim failed says how the request ended, or releases it, as far as anybody can be asked."""
    both, state = nodes.repeats("both"), nodes.states["both"]
    whole, lost = state.run, nodes.states[which].names.of("repeat", "k")

    async def run(script: Script, keys: Sequence[str], arguments: Sequence[Part], until: float, *, counted: bool = True) -> Any:
        if keys[0] == lost:
            raise StateError("away", "state_late")
        return await whole(script, keys, arguments, until, counted=counted)

    other = nodes.repeats("new" if which == "old" else "old")
    monkeypatch.setattr(state, "run", run)
    with pytest.raises(StateError):
        await both.begin("k", "f", "one", 60)
    with pytest.raises(StateError):
        await both.release("k", "one")
    assert await other.begin("k", "f", "two", 60) == (Turn.FIRST, b"")
    await other.release("k", "two")
    monkeypatch.undo()
    await both.begin("k", "f", "three", 60)
    monkeypatch.setattr(state, "run", run)
    with pytest.raises(StateError):
        await both.end("k", "three", ANSWER, 60)
    assert await other.begin("k", "f", "four", 60) == (Turn.ANSWERED, ANSWER)


async def test_an_answer_that_was_kept_while_both_were_known_is_there_afterwards(nodes: Nodes) -> None:
    """And one that was kept before is not: it is to be over by then."""
    for name in ("old", "both"):
        await nodes.repeats(name).begin(name, "f", "one", 60)
        await nodes.repeats(name).end(name, "one", ANSWER, 60)
    assert await nodes.repeats("new").begin("both", "f", "two", 60) == (Turn.ANSWERED, ANSWER)
    assert await nodes.repeats("new").begin("old", "f", "two", 60) == (Turn.FIRST, b"")


@beside
async def test_a_limit_is_one_limit(nodes: Nodes, first: str, second: str) -> None:
    """Two callers, of which the second is out."""
    one, two = (RedisAllowances(nodes.states[name]) for name in (first, second))
    draws = [Draw("alice", 1.0, 9), Draw("bob", 1.0, 5)]
    assert [await each.draw(draws) for each in (one, two, one, two, two)] == [None] * 5
    assert await two.draw(draws) == (1, 1.0)
    if (first, second) != ("both", "old"):  # what one that is gone knew is in nobody's way
        assert await one.draw(draws) == (1, 1.0)


@beside
async def test_a_quota_is_one_quota(nodes: Nodes, first: str, second: str) -> None:
    """And who is refused for one of two is counted for neither."""
    one, two = (RedisQuotas(nodes.states[name]) for name in (first, second))
    wide, narrow = Quota("day", 4, 6000), Quota("hour", 2, 600)
    assert [await each.take([wide, narrow]) for each in (one, two)] == [None, None]
    over = await two.take([wide, narrow])
    assert over is not None
    assert over[0] == 1
    assert [await each.take([wide]) for each in (one, two)] == [None, None]
    assert await two.take([wide]) is not None


@beside
async def test_a_budget_is_one_budget(nodes: Nodes, first: str, second: str) -> None:
    one, two = (RedisTallies(nodes.states[name]) for name in (first, second))
    assert await one.take("day", "alice", 60, 100, None, 60)
    assert not await two.take("day", "alice", 50, 100, None, 60)
    assert await two.take("day", "alice", 40, 100, None, 60)
    await two.add("day", "alice", -40)
    assert await two.take("day", "alice", 40, 100, None, 60)
    assert not await two.take("day", "alice", 1, 100, None, 60)


async def test_what_one_budget_has_no_room_for_is_not_counted_in_the_other(nodes: Nodes) -> None:
    """Which nodes with the former secret alone draw on."""
    assert await RedisTallies(nodes.states["new"]).take("day", "alice", 100, 100, None, 60)
    assert not await RedisTallies(nodes.states["both"]).take("day", "alice", 1, 100, None, 60)
    assert await RedisTallies(nodes.states["old"]).take("day", "alice", 100, 100, None, 60)


@pytest.mark.parametrize("which", ["old", "new"])
async def test_while_one_budget_cannot_be_asked_nothing_of_the_other_is_used_up(
    nodes: Nodes, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request that is refused meanwhile would count there; and what was guessed too high is given back as far as anybody can be
    asked."""
    both, state, other = RedisTallies(nodes.states["both"]), nodes.states["both"], "new" if which == "old" else "old"
    whole, lost = state.run, nodes.states[which].names.of("tally", "day")

    async def run(script: Script, keys: Sequence[str], arguments: Sequence[Part], until: float, *, counted: bool = True) -> Any:
        if keys[0] == lost:
            raise StateError("away", "state_late")
        return await whole(script, keys, arguments, until, counted=counted)

    assert await both.take("day", "alice", 90, 100, None, 60)
    monkeypatch.setattr(state, "run", run)
    for _ in range(2):
        with pytest.raises(StateError):
            await both.take("day", "alice", 5, 100, None, 60)
    assert await RedisTallies(nodes.states[other]).take("day", "alice", 10, 100, None, 60)
    with pytest.raises(StateError):
        await both.add("day", "alice", -50)
    assert await RedisTallies(nodes.states[other]).take("day", "alice", 50, 100, None, 60)


async def test_a_conversation_goes_on_or_is_none(nodes: Nodes) -> None:
    """Never an older one in place of the last: an answer would choose of what was offered before."""
    old, both, new = (RedisConversations(nodes.states[name]) for name in ("old", "both", "new"))
    await old.write("c", b"one", 60)
    assert await both.read("c") == b"one"
    await both.write("c", b"two", 60)
    assert [await each.read("c") for each in (old, both, new)] == [b"two"] * 3
    for node in (old, new):
        await both.write("c", b"three", 60)
        await node.write("c", b"four", 60)
        assert await both.read("c") is None


async def test_what_is_gone_is_known_to_all(nodes: Nodes) -> None:
    old, both, new = (RedisMarks(nodes.states[name], "endpoints") for name in ("old", "both", "new"))
    await old.put("a", b"1")
    await both.put("b", b"2")
    await new.put("c", b"3")
    assert dict(await both.all()) == {"a": b"1", "b": b"2", "c": b"3"}
    assert [await both.find(name) for name in "abcd"] == [b"1", b"2", b"3", None]
    await both.remove("b")
    assert [await each.find("b") for each in (old, both, new)] == [None] * 3


async def test_what_is_configured_is_what_is_used(redis_server: RedisServer) -> None:
    """Each with the adapter that the configuration makes."""
    prefix = f"t{secrets.token_hex(8)}"

    def node(**named: Secret) -> Kept:
        return kept.build(settings(redis_server, prefix=prefix, timeout="100ms", **named), Path(), Heard())

    made = [node(key=Secret("one")), node(key=Secret("two"), previous_key=Secret("one")), node(key=Secret("two"))]
    for each in made:
        await each.open()
    turns = []
    for each in made[1], made[0], made[2]:
        assert each.repeats is not None
        turns.append((await each.repeats.begin("k", "f", "token", 60))[0])
        if each is made[1]:
            await each.repeats.end("k", "token", ANSWER, 60)
        await each.close()
    assert turns == [Turn.FIRST, Turn.ANSWERED, Turn.ANSWERED]


class Heard(Unheard):
    def answer_shared(self, tier: str, result: str) -> None: ...


def test_a_secret_is_exchanged_for_another(tmp_path: Path, redis_server: RedisServer) -> None:
    """Not for itself, also where that is in two files; nor is one that is empty any."""
    for name in ("one", "two"):
        (tmp_path / name).write_text("the same\n")
    (tmp_path / "none").write_text("\n")
    same = settings(redis_server, key=Secret(file="one"), previous_key=Secret(file="two"))
    with pytest.raises(ConfigError, match=r"'shared_state\.previous_key' is the same"):
        RedisState(same, tmp_path, Unheard())
    with pytest.raises(ConfigError, match=r"'shared_state\.previous_key' is empty"):
        RedisState(settings(redis_server, key=Secret("one"), previous_key=Secret(file="none")), tmp_path, Unheard())
