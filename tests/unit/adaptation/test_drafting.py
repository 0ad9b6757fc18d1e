"""Which opinions count, and which texts may become examples."""

from __future__ import annotations

from typing import Any

from router.adaptation.drafting import OUTSIDE, Correction, changes, corrections, examples, in_turns, one_line
from router.ports import Lesson


def opinion(decision: str, verdict: str = "wrong", intent: str | None = "pay", by: str = "k1", **more: Any) -> Lesson:
    terms = {"verdict": verdict, "intent": intent, "own": False, "subject": f"of {decision}", **more}
    return Lesson("feedback", f"{decision}:{by}", decision, verdict, 0, terms)


def wanted(*people: str, intent: str = "pay") -> list[Correction]:
    return [Correction(f"d{number}", intent, who) for number, who in enumerate(people)]


def texts(found: list[Correction]) -> dict[str, str | None]:
    return {each.decision_id: f"text number {each.decision_id}" for each in found}


def made(found: list[Correction], said: dict[str, str | None], least: int = 1, most: int = 50, known: tuple[str, ...] = ()) -> Any:
    return examples(found, said, known, lambda text: text.replace("kim@office.example", "[email]"), least, most)


def test_what_people_agree_on_counts() -> None:
    """Once for each decision, however many say so; a text about nothing that is served counts as such."""
    said = [opinion("d1"), opinion("d1", by="k2"), opinion("d2", "out_of_scope", None)]
    found, left_out = corrections(said, (), ("pay",))
    assert found == [Correction("d1", "pay", "of d1"), Correction("d2", OUTSIDE, "of d2")]
    assert not left_out


def test_what_teaches_nothing_is_left_out_by_its_reason() -> None:
    """Disagreement, the word of the one who asked, and what was proposed before among it."""
    said = [
        opinion("d1"),
        opinion("d1", intent="ask", by="k2"),
        opinion("d2", own=True),
        opinion("d3", "right", None),
        opinion("d4", "wrong", None),
        opinion("d5", intent="gone"),
        opinion("d6"),
    ]
    found, left_out = corrections(said, ("d6",), ("pay", "ask"))
    assert found == []
    assert dict(left_out) == {"disagreement": 1, "own": 1, "right": 1, "no_intent": 1, "intent_gone": 1, "proposed_before": 1}


def test_the_word_of_the_one_who_asked_does_not_silence_others() -> None:
    """It neither counts nor disagrees."""
    found, _ = corrections([opinion("d1"), opinion("d1", "right", None, by="k9", own=True)], (), ("pay",))
    assert [each.decision_id for each in found] == ["d1"]


def test_a_text_is_masked_and_in_one_line() -> None:
    """Also one that a file of examples would take for a comment."""
    found = wanted("anna")
    drafted = made(found, {"d0": "# mail\nkim@office.example\u202e now"})
    assert [each.text for each in drafted.examples] == ["mail [email] now"]
    assert one_line("  #a\x00b ") == "a b"


def test_texts_that_are_of_no_use_are_left_out() -> None:
    """Erased, too long or short, known to the catalog, or said before."""
    found = wanted(*"abcde")
    said = {"d0": None, "d1": "x" * 400, "d2": "Pay  the BILL", "d3": "pay him", "d4": "Pay him"}
    drafted = made(found, said, known=("pay the bill",))
    assert [each.text for each in drafted.examples] == ["pay him"]
    assert drafted.left_out == {"known": 2, "length": 1, "unopened": 1}


def test_one_person_alone_teaches_nothing() -> None:
    """Whatever they say how often; of each intent by itself."""
    found = wanted("anna", "anna", "bert")
    assert made(found, texts(found), least=3).examples == ()
    assert made(found, texts(found), least=3).left_out == {"too_few_people": 3}
    assert len(made(found, texts(found), least=2).examples) == 3


def test_nobody_fills_the_examples_alone() -> None:
    """One of each person first, then the second of each."""
    found = wanted("anna", "anna", "anna", "bert", "cora")
    drafted = made(found, texts(found), least=3, most=3)
    assert [each.subject for each in drafted.examples] == ["anna", "bert", "cora"]
    assert drafted.left_out == {"too_many": 2}
    assert [each.subject for each in in_turns(made(found, texts(found)).examples)] == ["anna", "bert", "cora", "anna", "anna"]


def test_changes_name_their_texts() -> None:
    """By intent, and those about none by themselves."""
    found = [*wanted("anna"), Correction("d9", OUTSIDE, "bert")]
    intents, outside, sources = changes(made(found, texts(found)).examples)
    assert intents == {"pay": {"examples": ["text_0"]}}
    assert (outside, sources) == (["text_1"], {"text_0": "d0", "text_1": "d9"})
