"""What is told of texts that nobody serves."""

from __future__ import annotations

from router.adaptation.topics import Unanswered, name_of, told, words


def asked(*said: tuple[str, str]) -> list[Unanswered]:
    return [Unanswered(f"d{number}", who, text) for number, (who, text) in enumerate(said)]


LEAKS = asked(
    ("anna", "there is a leak under the sink, says zelda"),
    ("bert", "water leak in the kitchen"),
    ("cora", "the kitchen sink has a leak, call [phone]"),
    ("dora", "what is the capital of the moon"),
    ("emil", "what is the time"),
)


def test_a_topic_is_told_by_words_that_several_people_used() -> None:
    """Rarer words first; nothing that one alone said, and no label of what was masked."""
    (topic,) = told([[0, 1, 2]], LEAKS, 2)
    assert (topic.texts, topic.people, topic.decisions) == (3, 3, ("d2", "d1", "d0"))
    assert topic.terms[0] == "leak"
    assert set(topic.terms) <= {"leak", "sink", "kitchen", "the"}
    assert topic.name.startswith("leak_")


def test_a_topic_of_too_few_people_is_not_told() -> None:
    """However often they said it."""
    said = asked(*[("anna", "the leak again")] * 9, ("bert", "a leak"))
    assert told([list(range(10))], said, 3) == []
    assert len(told([list(range(10))], said, 2)) == 1


def test_where_nobody_uses_a_word_of_others_there_is_no_name() -> None:
    """The decisions are still told."""
    (topic,) = told([[0, 1]], asked(("anna", "leak"), ("bert", "drip")), 2)
    assert (topic.name, topic.terms, len(topic.decisions)) == ("", (), 2)


def test_a_name_is_one_that_an_intent_may_have() -> None:
    """Other letters are passed over."""
    assert name_of(("küche", "leak", "sink", "tap")) == "leak_sink"
    assert words("[email] Café, 12 a_b") == {"café"}
