from __future__ import annotations

from pathlib import Path

import pytest

from router.audit.questions.conditions import Compare, Every
from router.audit.questions.saved import Saved, saved_queries
from router.audit.questions.where import WhereError
from router.errors import ConfigError

GOOD = """version: 1
queries:
  unsure:
    question: Who was unsure?
    where: confidence < :least and intent = :intent
    parameters: {least: the least confidence, intent: the intent}
    defaults: {least: "0.5"}
    columns: [intent, verdict]
  counted: {question: How many?, where: kind = 'decision', by: [intent], bucket: 1h}
  elsewhere: {question: Whole?, instead: lockgate audit verify}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "audit-queries.yaml").write_text(text)
    return folder / "audit-queries.yaml"


def test_questions_are_read_with_their_parameters(tmp_path: Path) -> None:
    """Defaults hold where nothing is given; values are values, whatever is in them."""
    known = saved_queries(written(tmp_path, GOOD))
    assert list(known) == ["unsure", "counted", "elsewhere"]
    unsure = known["unsure"]
    assert unsure.condition({"intent": "x' or 'a' = 'a"}) == Every(
        (Compare("confidence", "<", 500_000), Compare("intent", "=", "x' or 'a' = 'a"))
    )
    assert unsure.shown == ("intent", "effect")
    assert (known["counted"].aggregated, known["counted"].grouping().bucket_ns) == (True, 3600 * 10**9)
    assert known["elsewhere"].where is None


def test_a_workspace_without_the_file_has_no_questions(tmp_path: Path) -> None:
    """It may be left out."""
    assert saved_queries(tmp_path / "audit-queries.yaml") == {}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "The question needs the parameter 'intent': the intent."),
        ({"intent": "a", "leest": "1"}, "The question has no parameter 'leest'. Did you mean 'least'?"),
        ({"intent": "a", "least": "much"}, "at character 14: confidence is compared with a number."),
    ],
)
def test_a_wrong_parameter_is_one_sentence(tmp_path: Path, given: dict[str, str], sentence: str) -> None:
    """What is missing, too many, or no value of its kind."""
    unsure: Saved = saved_queries(written(tmp_path, GOOD))["unsure"]
    with pytest.raises(WhereError) as caught:
        unsure.condition(given)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("confidence <", "confidense <", 3, "there is no column 'confidense'. Did you mean 'confidence'?"),
        ("intent: the intent}", "intnt: the intent}", 3, "has a parameter 'intent' that parameters does not tell of"),
        ('least: "0.5"', 'most: "0.5"', 3, "has a default for 'most', which is no parameter"),
        ("[intent, verdict]", "[intent, verdikt]", 3, "There is no column 'verdikt'"),
        ("by: [intent]", "by: [time]", 9, "Nothing can be counted by 'time'"),
        ("bucket: 1h", "bucket: soon", 9, "must be a duration"),
        ("instead: lockgate audit verify", "insted: x", 10, "Unknown key 'insted'"),
        (", instead: lockgate audit verify", "", 10, "needs either 'where' or 'instead'"),
        ("version: 1", "version: 2", 1, "must be at most 1"),
    ],
)
def test_a_fault_in_the_file_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, sentence: str) -> None:
    """Before anybody asks the question."""
    with pytest.raises(ConfigError) as caught:
        saved_queries(written(tmp_path, GOOD.replace(old, new, 1)), "audit-queries.yaml")
    assert any(fault.startswith(f"audit-queries.yaml:{line}: ") and sentence in fault for fault in caught.value.faults), caught.value.faults
