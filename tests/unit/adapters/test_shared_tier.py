"""A tier whose answers nodes share."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapters.local_answers import LocalAnswers
from adapters.shared_tier import SharedTier, packed, unpacked
from router.decision import Candidate, Classification, Status
from router.system import SystemClock
from tests.contract.test_shared_answers import Seen

SCORED = Classification(
    Status.CLASSIFIED,
    "pay",
    0.9123456789012345,
    0.4,
    0.8,
    candidates=(Candidate("pay", 3.1, 0.91), Candidate("look", -1.0, 0.02)),
    prediction_set=("pay",),
    tier="encoder",
    model_digest="m",
    calibration_digest="c",
    novelty=0.25,
    injection=0.001,
    stages_ns=(("embed", 1000),),
)


class Encoder:
    name = "encoder"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def classify(self, text: str) -> Classification:
        self.asked.append(text)
        return SCORED


async def test_the_second_node_runs_no_model() -> None:
    """Its answer is the first one's, to the last digit, and says that it comes from a cache."""
    answers = LocalAnswers(60.0, SystemClock(), Seen())
    one, other = Encoder(), Encoder()
    assert await SharedTier(one, answers, "a").classify("pay it") == SCORED
    found = await SharedTier(other, answers, "a").classify("pay it")
    assert found == replace(SCORED, cached=True, stages_ns=())
    assert other.asked == []


async def test_another_model_or_text_is_another_question() -> None:
    """Also where both together read the same."""
    answers = LocalAnswers(60.0, SystemClock(), Seen())
    encoder = Encoder()
    for about, text in (("a", "pay it"), ("b", "pay it"), ("a", "pay  it"), ("ap", "ay it")):
        await SharedTier(encoder, answers, about).classify(text)
    assert len(encoder.asked) == 4


@given(st.one_of(st.binary(), st.sampled_from([b"null", b"[]", b"{}", b'{"candidates": 1}', packed(SCORED)[:-3]])))
def test_what_is_no_answer_is_none(data: bytes) -> None:
    """As from another release, whose key it was sealed with."""
    assert unpacked(data) is None
