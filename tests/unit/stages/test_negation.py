"""A text that says what is not to be done is told from one that complains that something does not work."""

from __future__ import annotations

import pytest

from router.stages.negation import negated_verbs, negations


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("don't cancel payment 4711", ("cancel",)),
        ("Please DON’T cancel payment 4711", ("cancel",)),
        ("dont cancel it", ("cancel",)),
        ("do not cancel it, and please don't pay it either", ("cancel", "pay")),
        ("hey, please do not ever cancel it", ("cancel",)),
        ("I don't want you to cancel payment 4711", ("cancel",)),
        ("we no longer want to book leave", ("book",)),
        ("I would not like to book leave", ("book",)),
        ("I'd rather not book leave", ("book",)),
        ("could you please not cancel it", ("cancel",)),
        ("you must not cancel it", ("cancel",)),
        ("payment 4711 must not be executed", ("executed",)),
        ("no need to cancel payment 4711", ("cancel",)),
        ("never cancel payment 4711", ("cancel",)),
        ("dotn cancel it", ("cancel",)),
        ("don't you dare cancel it", ("cancel",)),
        ("please don't let anybody cancel it", ("cancel",)),
        ("I do not want payment 4711 cancelled", ("cancelled",)),
        ("payment 4711 should not be cancelled", ("cancelled",)),
        ("I didn't ask you to cancel it", ("cancel",)),
        ("under no circumstances cancel it", ("cancel",)),
        ("it is right: don't cancel payment 4711", ("cancel",)),
        ("don`t cancel it", ("cancel",)),
        ("don\u2018t cancel it", ("cancel",)),
        ("don \u0301t cancel it", ("cancel",)),  # an acute accent, normalised
        ("do **not** cancel it", ("cancel",)),
        ("Hello,never cancel it", ("cancel",)),
        ("wait!!! ((don't cancel it", ("cancel",)),
        ("paid...never cancel it; . never pay it", ("cancel", "pay")),
        ("donnt cancel it", ("cancel",)),
        ("do noot cancel it", ("cancel",)),
        ("nver cancel it", ("cancel",)),
    ],
)
def test_what_is_not_to_be_done_is_seen(text: str, verbs: tuple[str, ...]) -> None:
    """With the verb that is negated."""
    assert negations(text) == verbs


@pytest.mark.parametrize(
    "text",
    [
        "cancel payment 4711",
        "the printer does not work",
        "I can't log in and don't know why",
        "don't forget to cancel payment 4711",
        "please don't hesitate to cancel it",
        "I don't have access to the sales folder",
        "why don't you cancel it",
        "my invoice was not paid",
        "there is a fee that shouldn't be there",
        "Never mind",
        "have the flu, not coming in today",
        "not sure what that is",
        "never seen that charge",
        "I never got the parcel",
        "I do not recognise this charge",
        "do you want not this one",
    ],
)
def test_statements_are_no_negated_requests(text: str) -> None:
    """What does not work, is not known or not to be forgotten leaves nothing undone."""
    assert negations(text) == ()


def test_an_intents_examples_say_which_verbs_it_may_negate() -> None:
    """Those that they negate themselves, however written."""
    assert negated_verbs(["cancel it", "don't SEND it", "please do not pay it"]) == {"send", "pay"}
