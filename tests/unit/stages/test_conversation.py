"""What a text means after what was said before, and what it never comes to mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Turn
from router.stages.conversation import chosen, continued

OFFERED = (Turn("cancel or recall it", None, ("cancel_payment", "refund_payment", "payment_status")),)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("yes, the second one", 1), ("the second one", 1), ("second", 1), ("2", 1), ("Option 2 please", 1), ("the first", 0), ("1st", 0),
        ("number three", 2), ("the last one, please", 2), ("I meant the third one", 2), ("the former", 0), ("the latter", 2),
    ],
)  # fmt: skip
def test_a_choice_names_one_of_what_was_offered(text: str, place: int) -> None:
    assert chosen(text, OFFERED) == OFFERED[0].offered[place]


@pytest.mark.parametrize(
    "text",
    [
        "yes", "the fourth one", "5", "second thoughts", "the second payment", "not the second one", "yes and no", "cancel the second one",
        "the second one and the third one", "", "two of them", "the second one of my invoices from last year",
    ],
)  # fmt: skip
def test_what_is_no_choice_chooses_nothing(text: str) -> None:
    assert chosen(text, OFFERED) is None


def test_yes_is_an_answer_where_one_thing_was_offered() -> None:
    only = (Turn("stop it", None, ("cancel_payment",)),)
    assert chosen("yes please", only) == chosen("exactly", only) == chosen("that one", only) == "cancel_payment"
    assert chosen("no", only) is None
    assert chosen("the last one", only) is None


def test_only_the_last_turn_offers() -> None:
    assert chosen("the second one", (*OFFERED, Turn("where is 4711", "payment_status"))) is None
    assert chosen("the second one", ()) is None


def test_what_was_accepted_goes_on_and_what_was_not_does_not() -> None:
    assert continued("and 4712", (Turn("where is payment 4711?", "payment_status"),)) == (
        "where is payment 4711. and 4712",
        "payment_status",
    )
    assert continued("and 4712", OFFERED) is None
    assert continued("and 4712", ()) is None


@given(st.text(max_size=200))
def test_any_text_is_looked_at_in_bounded_time_and_never_leads_elsewhere(text: str) -> None:
    assert chosen(text, OFFERED) in (None, *OFFERED[0].offered)
