"""Three real nodes on one PostgreSQL and one Redis behind a real Envoy, which balances between their gateways or asks their doors. They are
killed and started again by a seeded schedule under load: one ledger, in which everything that was acknowledged is once, an upstream that
got everything at most once, and one limit."""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import redis_server
from tests.e2e.balancer import asking, balanced
from tests.e2e.nodes import Cluster, cluster, command
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_reviews import shown
from tests.e2e.wire import TIMEOUT_S, ask
from tests.postgres_server import PostgresServer, running
from tests.redis_server import RedisServer

CALLERS = 3
PAUSE_S = 0.01
HELD_EACH = 25
"""Of so many requests of a caller one is held for a person."""
LATE_S = 2.0
"""How long before a kill a decision may have been recorded whose outcome that kill took. The service answers at once: 10 ms are usual."""
REPORTED_S, UNTOLD_S = 5.0, 1.5
"""The same where Envoy says how a request ended: once a second, to one node, which tells another within a second more; and how long after a
kill Envoy may still have told it."""
RATE, BURST, LATE_SHARE = 2, 6, 1.02
LIMIT = {"name": "looks", "by": "subject_intent", "rate": f"{RATE}/s", "burst": BURST, "intents": ["look"]}


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Times are of this process's monotonic clock."""

    decision: str
    held: bool
    began: float
    ended: float


@dataclass(slots=True)
class Storm:
    """What callers, the reviewer and the killer did. `kills` and `frozen` are Unix times, before and after each."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    left_out: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    approved: set[str] = field(default_factory=set)
    looked: Counter[int] = field(default_factory=Counter)
    late: float = LATE_S
    untold: float = 0.0
    troubles: int = 0
    killed: int = 0
    frozen: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


Trouble = Callable[[Storm, Cluster, random.Random, list[Lockgate]], None]
Front = Callable[[Sequence[Lockgate], Path], AbstractContextManager[int]]


def call(storm: Storm, port: int, key: str, caller: int) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection, number = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S), caller * 1_000_000
    while not storm.stop.wait(PAUSE_S):
        number += 1
        held = number % HELD_EACH == 0
        began = time.monotonic()
        try:
            connection.request("POST" if held else "GET", f"/{'pay' if held else 'echo'}/{number}", b"{}" if held else None, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            storm.broken[type(error).__name__] += 1
            connection.close()
            continue
        storm.statuses[answer.status] += 1
        if answer.status == (202 if held else 200):
            storm.acknowledged.append(Acknowledged(answer.headers["x-lockgate-decision-id"], held, began, time.monotonic()))
    connection.close()


def look(storm: Storm, port: int, key: str) -> None:
    """Far more often than the limit lets it."""
    connection, number = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S), 0
    while not storm.stop.wait(1 / (8 * RATE)):
        number += 1
        try:
            connection.request("GET", f"/items/{number}", headers={"authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            continue
        storm.looked[answer.status] += 1
    connection.close()


def review(storm: Storm, nodes: list[Lockgate], chance: random.Random) -> None:
    """Approves what waits, over whichever node answers; who does not get an answer does not know, and asks again."""
    while not storm.stop.wait(0.1):
        node = chance.choice(nodes)
        try:
            for each in node.control("GET", "/v1/reviews?state=pending&limit=20", who="max").json.get("reviews", []):
                said = {"comment": "", "content_digest": shown(node, each["id"])["content_digest"]}
                if node.control("POST", f"/v1/reviews/{each['id']}/approve", said, who="max").status == 200:
                    storm.approved.add(each["id"])
        except (OSError, http.client.HTTPException, KeyError, ValueError):
            continue


def trouble(storm: Storm, made: Cluster, chance: random.Random, kinds: tuple[Trouble, ...]) -> None:
    while not storm.stop.wait(chance.uniform(0.5, 2.0)):
        ready = [node for node in made.nodes if is_ready(node)]
        if len(ready) >= 2:
            chance.choice(kinds)(storm, made, chance, ready)
            storm.troubles += 1


def kill(storm: Storm, made: Cluster, chance: random.Random, ready: list[Lockgate]) -> None:
    """One or two of three, all at once as machines are lost; never the last one that is ready."""
    for node in chance.sample(ready, chance.randint(1, len(ready) - 1)):
        storm.kills.append(time.time())
        node.process.kill()
        storm.kills.append(time.time())
        storm.killed += 1
    storm.stop.wait(chance.uniform(0.1, 1.0))
    for node in made.nodes:
        if node.process.ended is not None:
            node.process.start()


def freeze(storm: Storm, made: Cluster, chance: random.Random, ready: list[Lockgate]) -> None:
    """One node, as its machine might stand still: for longer than others wait for it, and then it goes on as if nothing had been."""
    node = chance.choice(ready)
    storm.frozen.append(time.time())
    os.killpg(node.process.pid, signal.SIGSTOP)
    storm.frozen.append(time.time())
    try:
        storm.stop.wait(chance.uniform(11.0, 14.0))
    finally:
        os.killpg(node.process.pid, signal.SIGCONT)


def crash(storm: Storm, made: Cluster, chance: random.Random, ready: list[Lockgate]) -> None:
    """The database, as after a power failure; it recovers at its next start."""
    storm.kills.append(time.time())
    made.place.server.stop(at_once=True)
    storm.kills.append(time.time())
    storm.killed += len(ready)
    storm.stop.wait(chance.uniform(0.1, 3.0))
    made.place.server.start()


def is_ready(node: Lockgate) -> bool:
    try:
        return node.process.ended is None and ask(node.ports["control"], "GET", "/readyz").status == 200
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def storm_over(port: int, made: Cluster, seed: int, kinds: tuple[Trouble, ...]) -> Iterator[Storm]:
    storm, chance = Storm(), random.Random(seed)
    jobs: list[tuple] = [(call, port, made.keys["ann"], caller) for caller in range(CALLERS)]
    jobs += [(look, port, made.keys["bob"])]
    jobs += [(review, made.nodes, random.Random(seed + 1)), (trouble, made, chance, kinds)]
    threads = [threading.Thread(target=guarded, args=(storm, *job)) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield storm
    finally:
        storm.stop.set()
        for thread in threads:
            thread.join(TIMEOUT_S * 2)


def left_out(envoy: Path) -> int:
    """How often that Envoy left out a node to which it could not connect."""
    admin = yaml.safe_load(envoy.read_text())["admin"]["address"]["socket_address"]["port_value"]
    page = ask(admin, "GET", "/stats?filter=outlier_detection.ejections_enforced_total&format=json").json
    return sum(each.get("value", 0) for each in page["stats"])


def guarded(storm: Storm, job, *arguments) -> None:
    try:
        job(storm, *arguments)
    except BaseException as error:
        storm.faults.append(error)
        raise


def survives(
    postgres: PostgresServer, folder: Path, seed: int, seconds: float, troubles: int, *kinds: Trouble, front: Front = balanced
) -> Storm:
    """So long, and until there was so much trouble."""
    door: dict[str, Any] = {"envoy": {}} if front is asking else {}
    with redis_server.running() as redis, cluster(postgres, folder, 3, **shared(redis), **door) as made:
        made.start()
        with front(made.nodes, folder) as port:
            until(lambda: ask(port, "GET", "/echo/1", made.keys["ann"]).status == 200, "the balancer had found a node")
            before = until(lambda: made.nodes[0].control("GET", "/v1/audit/checkpoint").json.get("note"), "there was a checkpoint")
            (folder / "checkpoint").write_text(before)
            began = time.monotonic()
            with storm_over(port, made, seed, kinds) as storm:
                if front is asking:
                    storm.late, storm.untold = REPORTED_S, UNTOLD_S
                time.sleep(seconds)
                until(lambda: storm.troubles >= troubles or storm.faults, "there was trouble", 120)
            assert storm.faults == []
            storm.left_out = left_out(folder / "envoy.yaml") if front is asking else 0
            within_the_limit(storm, time.monotonic() - began)
            for node in made.nodes:
                if node.process.ended is not None:
                    node.process.start()
                node.until_ready()
            settle_reviews(storm, made)
            check(storm, made, folder / "checkpoint")
    return storm


def shared(redis: RedisServer) -> dict[str, Any]:
    return {"shared_state": {"adapter": "redis", "server": str(redis.address)}, "limits": [LIMIT]}


def within_the_limit(storm: Storm, seconds: float) -> None:
    """Over all nodes, those that were lost and those that came back included; and it was hit. Where Redis is late with an answer a node
    goes by its own share of the limit meanwhile, as where it is away."""
    assert storm.looked[429] > 0
    assert BURST <= storm.looked[200] <= (BURST + RATE * seconds) * LATE_SHARE


def settle_reviews(storm: Storm, made: Cluster) -> None:
    """Everything that was acknowledged as held ends, decided on any node: sent, or uncertain where a kill came in between."""
    held = [each.decision for each in storm.acknowledged if each.held]
    node = made.nodes[1]
    for each in node.control("GET", "/v1/reviews?state=pending&limit=1000", who="max").json["reviews"]:
        said = {"comment": "", "content_digest": shown(node, each["id"])["content_digest"]}
        assert node.control("POST", f"/v1/reviews/{each['id']}/approve", said, who="max").status == 200
    until(lambda: all(shown(made.nodes[2], each)["state"] in ("done", "uncertain") for each in held), "every held request had ended", 60)
    states = {each: shown(made.nodes[0], each)["state"] for each in {*held, *storm.approved}}
    arrived = Counter(dict(asked["headers"])["x-lockgate-decision-id"] for asked in node.arrivals())
    assert [each for each, state in states.items() if state == "done" and arrived[each] != 1] == []
    assert [each for each, state in states.items() if state not in ("done", "uncertain")] == []


def check(storm: Storm, made: Cluster, checkpoint: Path) -> None:
    verified = command(made.nodes[0], "audit", "verify", "--personal", "--checkpoint", str(checkpoint))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    try:
        until(lambda: unexplained(storm, made.place.leaves()) == [], "all outcomes were recorded but those that a kill explains")
    except AssertionError:
        raise AssertionError(described(storm, made.place.leaves(), arrivals(made))) from None
    leaves = made.place.leaves()
    size = made.place.server.sql("SELECT count(*), max(idx) + 1 FROM lockgate.records", database=made.place.name)
    count, end = map(int, size.split("|"))
    assert count == end >= len(leaves)  # a node may have recorded something since, such as refusals that it had counted
    decided: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        if leaf["schema"] == "lockgate.decision.v1":
            decided.setdefault(leaf["id"], []).append(index)
    assert [each for each in storm.acknowledged if len(decided.get(each.decision, ())) != 1] == []
    assert [each for each, indexes in decided.items() if len(indexes) > 1] == []
    assert out_of_order(storm.acknowledged, {each: indexes[0] for each, indexes in decided.items()}) == []
    arrived = Counter(arrivals(made))
    assert [each for each, times in arrived.items() if times > 1] == []
    assert set(arrived) <= set(decided)
    steps = Counter((leaf["id"], leaf["event"]) for leaf in leaves if leaf["schema"] == "lockgate.review.v1")
    assert [each for each in steps if steps[each] > 1 and not near_a_kill(storm, leaves, *each)] == []


def arrivals(made: Cluster) -> list[str]:
    return [dict(asked["headers"])["x-lockgate-decision-id"] for asked in made.nodes[0].arrivals()]


def unexplained(storm: Storm, leaves: list[dict]) -> list[str]:
    """Decisions without outcome that were not under way when a node was killed, or more of them than may have been under way there: each
    caller's request, and its last one, whose outcome was still to be recorded."""
    done = {leaf["id"] for leaf in leaves if leaf["schema"] == "lockgate.outcome.v1"} - incomplete(leaves)
    left = [leaf for leaf in leaves if leaf["schema"] == "lockgate.decision.v1" and leaf["id"] not in done and not denied(leaf)]
    explained = [leaf["id"] for leaf in left if killed_after(storm, leaf)]
    lost = len(explained) if storm.untold else 2 * CALLERS * storm.killed  # all of that time, where Envoy tells them once a second
    return [leaf["id"] for leaf in left if leaf["id"] not in explained] + explained[lost:]


def described(storm: Storm, leaves: list[dict], arrived: Iterable[str]) -> str:
    """Those decisions, what is on record of them, whether the service got them, and how long before each trouble they were made."""
    left, arrived = unexplained(storm, leaves), set(arrived)
    said = {leaf["id"]: leaf["outcome"] for leaf in leaves if leaf["schema"] == "lockgate.outcome.v1"}
    acknowledged = {each.decision for each in storm.acknowledged}
    lines = [
        f"{leaf['id']}: {leaf['outcome']}, then {said.get(leaf['id'])};"
        f" acknowledged {leaf['id'] in acknowledged}, arrived {leaf['id'] in arrived};"
        f" kills {before(storm.kills, leaf)}, stood still {before(storm.frozen, leaf)}"
        for leaf in leaves
        if leaf["schema"] == "lockgate.decision.v1" and leaf["id"] in left
    ]
    return "\n".join([f"{len(lines)} decisions without a whole outcome that no kill explains:", *lines])


def before(troubles: list[float], leaf: dict) -> list[float]:
    return [round(at - moment(leaf), 1) for at in troubles[::2]]


def denied(decision: dict) -> bool:
    """Which is its end, in the same record."""
    return decision["outcome"] is not None and decision["outcome"]["result"] == "denied"


def incomplete(leaves: list[dict]) -> set[str]:
    """Those that were sent on and of whose end only the beginning is on record."""
    ended = (leaf for leaf in leaves if leaf["schema"] == "lockgate.outcome.v1")
    return {leaf["id"] for leaf in ended if leaf["outcome"]["result"] == "routed" and not leaf["outcome"]["complete"]}


def near_a_kill(storm: Storm, leaves: list[dict], decision: str, event: str) -> bool:
    """A node that was killed, or stood still, between a record and its mark leaves the same record to be appended once more."""
    same = [leaf for leaf in leaves if (leaf.get("id"), leaf.get("event")) == (decision, event)]
    return all(leaf == same[0] for leaf in same) and killed_after(storm, same[0], *storm.frozen)


def killed_after(storm: Storm, leaf: dict, *others: float) -> bool:
    return any(-storm.untold <= at - moment(leaf) <= storm.late for at in (*storm.kills, *others))


def moment(leaf: dict) -> float:
    return datetime.fromisoformat(leaf["time"]).timestamp()


def out_of_order(acknowledged: list[Acknowledged], index: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of decisions of which the first was acknowledged before the second was asked for, and is behind it in the ledger."""
    by_end, found = sorted(acknowledged, key=lambda each: each.ended), []
    last, at = None, 0
    for each in sorted(acknowledged, key=lambda each: each.began):
        while at < len(by_end) and by_end[at].ended < each.began:
            if last is None or index[by_end[at].decision] > index[last.decision]:
                last = by_end[at]
            at += 1
        if last is not None and index[last.decision] > index[each.decision]:
            found.append((last.decision, each.decision))
    return found


def test_orders_that_contradict_acknowledgements_are_found() -> None:
    """The check itself can fail."""
    first, second = Acknowledged("a", False, 0.0, 1.0), Acknowledged("b", False, 2.0, 3.0)
    beside = Acknowledged("c", False, 0.5, 2.5)
    assert out_of_order([first, second, beside], {"a": 1, "c": 0, "b": 2}) == []
    assert out_of_order([second, first], {"a": 2, "b": 1}) == [("a", "b")]


@pytest.mark.parametrize("front", [pytest.param(balanced, marks=pytest.mark.slow), asking])
def test_nodes_that_are_killed_at_random_lose_and_double_nothing(postgres: PostgresServer, tmp_path: Path, front: Front) -> None:
    """Some seconds of it."""
    storm = survives(postgres, tmp_path, 7, 6, 2, kill, front=front)
    assert front is not asking or storm.left_out > 0, "who could not be connected to was asked until a health check failed"
    assert len(storm.acknowledged) > 100
    assert any(each.held for each in storm.acknowledged)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "front"), [(11, balanced), (12, balanced), (13, asking)])
def test_nodes_that_are_killed_at_random_for_minutes_lose_and_double_nothing(
    postgres: PostgresServer, tmp_path: Path, seed: int, front: Front
) -> None:
    """The same for longer, with other schedules."""
    storm = survives(postgres, tmp_path, seed, 90, 8, kill, front=front)
    assert len(storm.acknowledged) > 1000
    assert storm.approved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "kinds"), [(21, (freeze,)), (22, (crash,)), (23, (kill, freeze, crash))], ids=["frozen", "crashed", "all"]
)
def test_nodes_that_stand_still_and_a_database_that_crashes_neither(tmp_path: Path, seed: int, kinds: tuple[Trouble, ...]) -> None:
    """A node that goes on after others took it for gone sends nothing that one of them sent; what a crash of the database answered is there
    afterwards."""
    with running() as postgres:
        storm = survives(postgres, tmp_path, seed, 60, 4, *kinds)
    assert len(storm.acknowledged) > 300
    assert storm.approved
