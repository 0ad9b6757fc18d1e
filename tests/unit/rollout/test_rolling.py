"""What is counted of two versions that judge the same requests, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.memory_policy import MemoryPolicy
from router.decision import Effect, Obligation, Reason, Verdict
from router.errors import PolicyError
from router.ports import Intents
from router.rollout.figures import Figures, Times
from router.rollout.rolling import EAGER, QUEUE, RARELY, Counted, Shadow, Stopwatch, looser
from router.stages.second import Sample

ALLOW = {"effect": "allow", "reasons": [{"code": "a.b", "message": "because"}]}
OTHERWISE = {"effect": "allow", "reasons": [{"code": "a.c", "message": "because"}]}
DENY = {"effect": "deny", "reasons": [{"code": "a.d", "message": "no"}]}
REVIEW = {"effect": "review", "reasons": [{"code": "a.e", "message": "ask"}], "obligations": []}


class Fixed:
    """Random's twin."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Broken(MemoryPolicy):
    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        raise PolicyError("It fails.", "policy_error")


def verdict(answer: Mapping[str, Any], *, engine: str = "embedded") -> Verdict:
    reasons = tuple(Reason(each["code"], each["message"]) for each in answer["reasons"])
    return Verdict(Effect(answer["effect"]), reasons, digest="1" * 64, engine=engine)


async def judged(
    answers: Mapping[str, Any], *offers: tuple[str, str, Mapping[str, Any]], first: bool = True, random: float = 0.5, share: float = 1.0
) -> Figures:
    """The figures after offers of (decision, entry, verdict that counted), with another version that answers so."""
    figures = Figures()
    shadow = Shadow(MemoryPolicy(answers), figures, share, Fixed(random), first=first)
    for decision, entry, answer in offers:
        shadow.offer(decision, entry, "look", {}, verdict(answer))
    shadow.start()
    for _ in range(20):
        await asyncio.sleep(0)
    await shadow.close()
    return figures


async def test_a_request_flips_once() -> None:
    """Whatever both of its entry points say; and what would change is told by intent and reason."""
    figures = await judged(
        {"admission": DENY, "decision": DENY}, ("d1", "admission", ALLOW), ("d1", "decision", ALLOW), ("d2", "admission", DENY)
    )
    assert (figures.compared, figures.flips, figures.looser, figures.otherwise) == (2, 1, 0, 0)
    assert dict(figures.flipped) == {("look", "allow → deny", "a.d"): 1}


async def test_the_same_for_other_reasons_is_no_flip() -> None:
    """It is counted apart."""
    figures = await judged({"admission": OTHERWISE}, ("d1", "admission", ALLOW))
    assert (figures.compared, figures.flips, figures.otherwise) == (1, 0, 1)


async def test_where_the_candidate_decides_the_other_is_what_is_in_force() -> None:
    """So the direction is the same: from what is in force to the candidate."""
    figures = await judged({"admission": DENY}, ("d1", "admission", ALLOW), first=False)
    assert (figures.decided, figures.flips, figures.looser) == (1, 1, 1)
    assert dict(figures.flipped) == {("look", "deny → allow", "a.b"): 1}


async def test_what_is_in_force_has_to_have_answered() -> None:
    """Otherwise there is nothing that the candidate could change."""
    figures = Figures()
    shadow = Shadow(MemoryPolicy({"admission": ALLOW}), figures, 1.0, Fixed(0.5), first=True)
    shadow.offer("d1", "admission", None, {}, verdict(DENY, engine=""))
    shadow.start()
    for _ in range(10):
        await asyncio.sleep(0)
    await shadow.close()
    assert (figures.compared, figures.flips, figures.skipped) == (0, 0, 1)


async def test_a_candidate_without_an_answer_denies_and_so_flips() -> None:
    """As it would for a caller."""
    figures = Figures()
    shadow = Shadow(Broken({}), figures, 1.0, Fixed(0.5), first=True)
    shadow.offer("d1", "admission", None, {}, verdict(ALLOW))
    shadow.start()
    for _ in range(10):
        await asyncio.sleep(0)
    await shadow.close()
    assert dict(figures.flipped) == {("-", "allow → deny", "policy_error"): 1}


async def test_whether_a_request_is_compared_is_chosen_once() -> None:
    """Both of its entry points, or neither."""
    offers = (("d1", "admission", ALLOW), ("d1", "decision", ALLOW))
    for random, compared in ((0.1, 1), (0.9, 0)):
        figures = await judged({"admission": ALLOW, "decision": DENY}, *offers, random=random, share=0.5)
        assert (figures.compared, figures.flips) == (compared, compared)


async def test_what_is_too_much_is_skipped() -> None:
    """Nobody waits, and memory does not grow."""
    figures = Figures()
    shadow = Shadow(MemoryPolicy({"admission": ALLOW}), figures, 1.0, Fixed(0.5), first=True)
    for number in range(QUEUE + 7):
        shadow.offer(f"d{number}", "admission", None, {}, verdict(ALLOW))
    assert figures.skipped == 7


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (DENY, ALLOW, True),
        (DENY, REVIEW, True),
        (REVIEW, ALLOW, True),
        (ALLOW, DENY, False),
        (ALLOW, REVIEW, False),
        (ALLOW, ALLOW, False),
    ],
)
def test_laxer_is_what_asks_for_less(before: Mapping[str, Any], after: Mapping[str, Any], said: bool) -> None:
    """By effect."""
    assert looser(verdict(before), verdict(after)) is said


def test_a_duty_less_is_laxer_and_one_more_is_not() -> None:
    """Where the effect is the same."""
    duty = Obligation("tag", {"name": "a"})
    bare, bound = Verdict(Effect.ALLOW), Verdict(Effect.ALLOW, obligations=(duty,))
    assert (looser(bound, bare), looser(bare, bound), looser(bound, bound)) == (True, False, False)


async def test_failures_and_late_answers_are_counted() -> None:
    """Whoever cancels a late one."""
    times = Times()
    with pytest.raises(PolicyError):
        await Counted(Broken({}), times).evaluate("admission", None, {})

    class Hanging(MemoryPolicy):
        async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Counted(Hanging({}), times).evaluate("admission", None, {})
    await Counted(MemoryPolicy({"admission": ALLOW}), times).evaluate("admission", None, {})
    assert (times.evaluations, times.failures) == (3, 2)


async def test_latency_is_measured_of_what_is_not_remembered() -> None:
    """Both are asked the same, by turns; the first all, then one of some."""
    asked: list[str] = []

    class Remembering(MemoryPolicy):
        def __init__(self, name: str) -> None:
            super().__init__({"admission": ALLOW})
            self.name = name

        def afresh(self) -> MemoryPolicy:
            return Remembering(f"{self.name} afresh")

        async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
            asked.append(self.name)
            return await super().evaluate(entry, intent, document)

    figures = Figures()
    stopwatch = Stopwatch(Remembering("one"), Remembering("two"), figures)
    sample = Sample("d1", "admission", None, {}, verdict(ALLOW))
    for _ in range(EAGER + 2 * RARELY):
        await stopwatch.offer(sample)
    assert asked[:4] == ["two afresh", "one afresh", "one afresh", "two afresh"]
    assert (figures.current.timed, figures.candidate.timed) == (EAGER + 2, EAGER + 2)
    assert (figures.current.evaluations, figures.candidate.evaluations) == (0, 0)
