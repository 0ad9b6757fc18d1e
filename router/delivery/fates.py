"""How a delivered request stands or ended: told from what still waits, and else from what is on record. Decides only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.audit.beside import Waiting
from router.audit.records.canonical import timestamp
from router.delivery.judging import NS
from router.ports import Due

LONGEST_WAIT_S = 3600
HELD_WAIT_S = 30  # a person decides; nobody knows when
EVENTS = "events"  # the door whose decisions are delivered on every route


class State(StrEnum):
    PENDING = "pending"  # it is being sent, or will be
    HELD = "held"  # a person decides about it first
    DELIVERED = "delivered"
    DEAD = "dead"  # given up, and kept for a person who may have it sent again
    DROPPED = "dropped"  # given up for good
    DENIED = "denied"
    UNCERTAIN = "uncertain"  # nothing waits, and nothing on record says how it ended


@dataclass(frozen=True, slots=True)
class Fate:
    """`key_id` is that of the subject whose request it was. `status` and `answer_bytes` are of the target's answer; 0 where there is none.
    `decided`, `next`, `until` and `ended` are RFC 3339, empty where they do not apply; `wait_s`: when it may be worth asking again."""

    decision_id: str
    state: State
    key_id: str
    route: str = ""
    destination: str = ""
    door: str = ""
    attempts: int = 0
    reason: str = ""
    status: int = 0
    answer_bytes: int = 0
    decided: str = ""
    next: str = ""
    until: str = ""
    ended: str = ""
    wait_s: int = 0

    @property
    def waits(self) -> bool:
        """Whether there is a row of it, so that it is certainly a delivery."""
        return bool(self.until)

    def is_delivery(self, routes: Collection[str]) -> bool:
        """`routes`: those whose requests are delivered. What was relayed while its caller waited is none of this."""
        return self.waits or self.door == EVENTS or self.route in routes


def waiting(found: Waiting, now_ns: int) -> Fate:
    each = found.delivery
    next_ns = max(each.due_ns, each.leased_ns)
    wait_s = min(LONGEST_WAIT_S, max(1, math.ceil((next_ns - now_ns) / NS)))
    return Fate(
        each.id,
        State.DEAD if found.dead else State.HELD if each.due is Due.HOLD else State.PENDING,
        each.key_id,
        each.route,
        each.destination,
        attempts=each.attempts,
        reason=each.reason,
        decided=timestamp(each.created_ns),
        next="" if found.dead else timestamp(next_ns),
        until=timestamp(each.until_ns),
        wait_s=0 if found.dead else wait_s,
    )


def recorded(decision_id: str, records: Sequence[tuple[Mapping[str, Any], str]]) -> Fate | None:
    """Of one that does not wait any more, from its (leaf, key id) in the order they were written. None where no decision is among them.
    A success counts, whatever else was tried: a worker that was late may have failed where another had done it."""
    decision = next(((leaf, key_id) for leaf, key_id in records if _kind(leaf) == "decision"), None)
    if decision is None:
        return None
    leaf, key_id = decision
    route, first = leaf.get("route") or {}, leaf.get("outcome")
    told = [(each["outcome"], each["time"]) for each, _ in records if _kind(each) == "outcome"]
    if first is not None:
        told.insert(0, (first, leaf["time"]))
    last, ended = next((each for each in told if each[0]["result"] == "routed"), told[-1] if told else ({}, ""))
    state = _state(last)
    return Fate(
        decision_id,
        state,
        key_id,
        route.get("name") or "",
        route.get("destination") or "",
        leaf["request"]["door"],
        attempts=last.get("attempts", 0),
        reason=last.get("reason") or "",
        status=last.get("status", 0) if state is State.DELIVERED else 0,
        answer_bytes=last.get("response_bytes", 0),
        decided=leaf["time"],
        ended="" if state in (State.HELD, State.UNCERTAIN) else ended,
        wait_s=HELD_WAIT_S if state is State.HELD else 0,
    )


def _state(outcome: Mapping[str, Any]) -> State:
    """Of the last outcome; one that is failed and does not wait any more was dropped, by a person or because it could never be sent."""
    if not outcome:
        return State.UNCERTAIN
    named = {"routed": State.DELIVERED, "held": State.HELD, "failed": State.DROPPED}
    return named.get(outcome["result"], State.DENIED)


def _kind(leaf: Mapping[str, Any]) -> str:
    """The middle of `lockgate.decision.v1`."""
    return str(leaf.get("schema", "")).removeprefix("lockgate.").partition(".")[0]
