"""The contract of retrieval services on its page is the one that is held."""

from __future__ import annotations

import json
import re

from adapters.retrieval.contract import Found, question
from tests.unit.docs.pages import page


def test_the_question_and_the_answer_of_the_page_are_ones() -> None:
    asked, said = (json.loads(block) for block in re.findall(r"```json\n(.+?)```", page("destinations/retrieval.md"), re.DOTALL))
    assert asked == question(asked["question"], asked["most"], asked["filters"], asked["id"])
    found = Found.model_validate_json(json.dumps(said))
    assert json.loads(found.model_dump_json()) == said
