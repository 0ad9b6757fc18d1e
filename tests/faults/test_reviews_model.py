"""Held requests against a model of them, over real files: several people, time, other policies, and crashes around every durable step.
After each, what is kept is what the model says; at the end the ledger verifies and has every step's record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from adapters.memory_destination import Answer, MemoryDestination
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reviews import ReviewFile
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.decision import Effect, Obligation, Reason, Subject, Verdict
from router.errors import ReviewError
from router.ports import Outbound
from router.review.attempting import Asked
from router.review.attempts import Kind
from tests.faults.review_desk import Death, MortalDestination, MortalLedger, MortalStore
from tests.faults.review_model import ASKER, CHIEFS, CLAIM_S, ENDED, ESCALATE_S, EXPIRES_S, LOST, MANAGERS, MOMENTS, RESPOND_S, Model
from tests.unit.audit.ledgers import SIGNER, records_of, verified
from tests.unit.audit.samples import SUBJECT
from tests.unit.identity.parts import HandClock
from tests.unit.review.parts import Desk, Standing, way

PAYMENT = Outbound("POST", "/pay", [(b"content-type", b"application/json")], b'{"to":"zoe","amount":0}')
TERMS: dict[str, Any] = {
    "quorum": 2,
    "expires": f"{EXPIRES_S}s",
    "claim": f"{CLAIM_S}s",
    "respond": f"{RESPOND_S}s",
    "escalate": f"{ESCALATE_S}s",
    "escalate_to": ["chief"],
    "modify": ["/amount"],
}
OTHER = Verdict(
    Effect.REVIEW, (Reason("risk.other"),), (Obligation("require_review", {"reviewers": ["manager"], **TERMS}),), digest="aa" * 32
)
PEOPLE = {name: Subject(name, "user", ("manager",)) for name in MANAGERS} | {name: Subject(name, "user", ("chief",)) for name in CHIEFS}
PEOPLE["anna"] = Subject(SUBJECT.id, "user", ("manager",))
# What ends a request is tried less, so that more comes of each.
OFTEN = (
    "claim",
    "approve",
    "approve",
    "modify",
    "ask",
    "answer",
    "escalate",
)  # what ends a request is tried less, so that more comes of each
KINDS = [*(kind.value for kind in Kind if kind is not Kind.REROUTE), *OFTEN]
WHO = [*sorted(PEOPLE), "rita", "ruben"]


class Crash(BaseException):
    """The machine loses its power here."""


class Moment(Death):
    """Dies once, and does not come back before it is asked to; nothing is written after it."""

    def __init__(self) -> None:
        super().__init__("never")
        self.dead = False

    def at(self, moment: str) -> None:
        self._at, self.dead = moment, False

    def here(self, moment: str) -> None:
        if self.dead or moment == self._at:
            self.dead = True
            raise Crash(moment)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = TemporaryDirectory()
        self.folder = Path(self.place.name)
        self.clock, self.policy, self.death = HandClock(), Standing(), Moment()
        self.model, self.sent, self.said, self.crashes = Model(), 0, 0, 0
        self.run(self.start())
        self.ids: list[str] = []
        self.hold()

    def hold(self) -> None:
        self.model, self.sent, self.policy.changed = Model(), 0, None
        self.id = self.run(self.desk.held(len(self.ids) + 1, outbound=PAYMENT, **TERMS))
        self.ids.append(self.id)
        self.answers: list[Asked] = []

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(doing)

    async def start(self) -> None:
        ledger = AuditLedger(Journal(SqliteStore(self.folder / "ledger.sqlite"), Checkpointing(SIGNER, self.folder / "checkpoints")))
        keys = CachedSubjectKeys(KeyFile(self.folder / "keys.sqlite", bytes(32)))
        store, bank = MortalStore(ReviewFile(self.folder / "reviews.sqlite"), self.death), MemoryDestination(self.handle)
        self.parts: list[Any] = [ledger, keys, store, bank]
        for part in self.parts:
            await part.open()
        upstream: Any = MortalDestination(bank, self.death)
        self.desk = Desk(store, MortalLedger(ledger, self.death), keys, self.clock, way(upstream), self.policy)

    async def stop(self) -> None:
        await self.desk.service.close(0)
        for part in reversed(self.parts):
            await part.close()

    async def restart(self) -> None:
        """As after a crash: all that is left is what is in the files."""
        self.crashes += self.death.dead
        await self.stop()
        self.death.at("never")
        await self.start()
        await self.rounds()

    async def rounds(self) -> None:
        await self.desk.service.round()
        await self.desk.settled()
        await self.desk.service._recording.everything()

    async def handle(self, outbound: Outbound) -> Answer:
        self.sent += 1
        return Answer(200, [], b"paid")

    async def attempt(self, kind: str, who: str) -> str | None:
        """The code of a refusal."""
        self.said += 1
        asked: dict[str, Any] = {"comment": str(self.said)} if kind in ("ask", "answer") else {}
        if kind == "modify":
            asked["changes"] = {"/amount": self.said}
        if kind == "answer" and who == ASKER and self.model.state == "more_information":
            review = await self.desk.store.get(self.id)
            asked |= {"version": review.version if review is not None else 0, "key": str(self.said)}
            self.answer = Asked(Kind.ANSWER, **asked)
        try:
            await self.desk.attempt(self.id, PEOPLE[who], Kind(kind), **asked)
            self.answers += [self.answer] if kind == "answer" else []
        except ReviewError as error:
            return error.code
        except Crash:
            return "crash"
        finally:
            await self.desk.settled()
        return None

    @precondition(lambda self: self.model.state in ENDED)
    @rule()
    def another(self) -> None:
        """Another request is held, so that more happens than refusals."""
        self.hold()

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), who=st.sampled_from(WHO), other=st.booleans())
    def tries(self, kinds: list[str], who: str, other: bool) -> None:
        """Several things one after the other, by one person or, in turns, by two; on a higher level mostly by its people."""
        if self.model.state in ENDED and other:
            self.hold()
        for number, kind in enumerate(kinds):
            people = CHIEFS if self.model.level and who in MANAGERS[:2] else MANAGERS[:2]
            self.one(kind, people[number % 2] if other else people[0] if self.model.level and who in MANAGERS[:2] else who)

    def one(self, kind: str, who: str) -> None:
        """A refusal is the one that the model foresees, and changes nothing."""
        found = self.run(self.attempt(kind, who))
        if self.model.repeated(kind, who):
            assert found is None
        else:
            refusal = self.model.refusal(kind, who)
            assert found == refusal, (kind, who, self.model)
            if refusal is None:
                self.model.take(kind, who)
            elif refusal == "review_superseded":
                self.model.supersede()
            if self.model.state == "approved":
                self.model.dispatched()
        self.same()

    async def said_again(self, again: Asked) -> str | None:
        try:
            assert not await self.desk.service.taken(self.id, PEOPLE[ASKER], again)
        except ReviewError as error:
            return error.code
        return None

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), other=st.booleans())
    def says_again(self, data: st.DataObject, other: bool) -> None:
        """An answer that was taken counts once, whatever happened since; another text under its key is refused, and changes nothing."""
        given = data.draw(st.sampled_from(self.answers))
        again = replace(given, comment=f"not {given.comment}") if other else replace(given, key=data.draw(st.sampled_from(["", given.key])))
        refusal = self.run(self.said_again(again))
        assert refusal == ("idempotency_key_reused" if other else None)
        self.same()

    @precondition(lambda self: self.model.state not in ENDED)
    @rule(seconds=st.sampled_from([1, 1, 300, CLAIM_S, RESPOND_S, ESCALATE_S]))
    def passes(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self.model.now += seconds
        self.run(self.rounds())
        self.model.time()
        self.same()

    @rule()
    def restarts(self) -> None:
        """What was going on goes on; time has made its steps meanwhile."""
        self.run(self.restart())
        self.model.time()
        self.same()

    @precondition(lambda self: self.model.policy == 0)
    @rule()
    def changes(self) -> None:
        """Policies that would judge it otherwise."""
        self.policy.changed = OTHER
        self.model.policy = 1

    @precondition(lambda self: self.model.state in ("pending", "assigned", "escalated") and self.model.given)
    @rule(moment=st.sampled_from(MOMENTS), who=st.sampled_from(sorted(PEOPLE)))
    def dies_over_the_last_approval(self, moment: str, who: str) -> None:
        """Whatever was durable goes on; what may have been sent is not sent again."""
        if self.model.repeated("approve", who) or self.model.refusal("approve", who) is not None:
            return
        self.death.at(moment)
        self.run(self.attempt("approve", who))
        died = self.death.dead
        self.run(self.restart())
        if not (died and moment in LOST):
            self.model.take("approve", who)
            assert self.model.state == "approved"
            self.model.dispatched(moment if died else None)
        self.model.time()
        self.same()

    @precondition(lambda self: self.model.state not in ENDED)
    @rule(kind=st.sampled_from(KINDS), who=st.sampled_from(sorted(PEOPLE)), before=st.booleans())
    def dies_over_a_step(self, kind: str, who: str, before: bool) -> None:
        """Before it is durable nothing has happened; after it, it has, and its record comes."""
        model = self.model
        if model.repeated(kind, who) or model.refusal(kind, who) is not None or (kind in ("approve", "modify") and model.given):
            return
        event = {"release": "unclaimed", "approve": "endorsed", "ask": "information_asked", "answer": "information_given"}.get(kind)
        event = event or {"reject": "rejected", "modify": "modified", "escalate": "escalated", "cancel": "cancelled"}.get(kind)
        event = event or ("renewed" if model.claimant == who else "claimed")
        self.death.at(f"{'before' if before else 'after'} step {event}")
        assert self.run(self.attempt(kind, who)) == "crash"
        self.run(self.restart())
        if not before:
            model.take(kind, who)
            self.answers += [self.answer] if kind == "answer" else []
        model.time()
        self.same()

    def same(self) -> None:
        review = self.run(self.desk.store.get(self.id))
        shown = self.run(self.desk.service.get(self.id))
        assert (shown["state"], shown["level"]) == (self.model.state, self.model.level), self.model
        if self.model.state in ("pending", "assigned", "escalated", "more_information"):
            assert shown["approvals"] == len(self.model.given), self.model
            assert (shown["claimed_by"] or "") == self.model.claimant, self.model
        assert self.sent == self.model.sent, self.model
        assert all(change.recorded for change in review.history)

    def teardown(self) -> None:
        self.death.at("never")
        reviews = [self.run(self.desk.store.get(each)) for each in self.ids]
        self.run(self.stop())
        self.runner.close()
        assert verified(self.folder).ok
        self.recorded(reviews)
        self.place.cleanup()

    def recorded(self, reviews: list[Any]) -> None:
        """Each step once; a crash between a record and its mark may have repeated it, byte by byte."""
        leaves = Counter(bytes(leaf) for leaf, *_ in records_of(self.folder))
        steps = [bytes(entry.leaf) for review in reviews for change in review.history for entry in change.entries]
        assert all(leaves[leaf] >= 1 for leaf in steps)
        assert sum(leaves[leaf] for leaf in steps) <= len(steps) + 2 * self.crashes
        rest = [orjson.loads(leaf)["event"] for leaf in leaves if leaf not in steps]
        assert set(rest) <= {"refused"}


def played(examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), derandomize=examples < 50
    )
    run_state_machine_as_test(Machine, settings=chosen)


def test_held_requests_do_what_the_model_says() -> None:
    """The short form."""
    played(6, 20)


@pytest.mark.slow
def test_held_requests_do_what_the_model_says_for_long() -> None:
    """The long form."""
    played(150, 50)
