"""What of a completion is an answer: whole, words alone, of the asked form, without what nobody sees."""

from __future__ import annotations

from typing import Any

import orjson

from adapters.json_schema import misfit
from adapters.llm.config import Answer
from adapters.messaging.destination import failure
from adapters.messaging.words import visible
from router.errors import DestinationError, PolicyError
from router.masking import Masker, masked


def answer_of(completion: Any, rules: Answer, mask: Masker) -> Any:
    """Text, or a JSON value where there is a schema. Raises DestinationError `answer_refused`, without the answer's words."""
    text = visible(_words(completion))
    if not text.strip():
        raise refused("is empty")
    if len(text) > rules.most_chars:
        raise refused(f"is longer than {rules.most_chars} characters")
    if rules.json_schema is None:
        return _kept(text, mask(text), rules)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise refused("is no JSON") from None
    fault = misfit(rules.json_schema, value)
    if fault is not None:
        raise refused(f"does not fit the schema: {fault}")
    try:
        hidden = orjson.loads(masked(orjson.dumps(value), "application/json", mask))
    except PolicyError:
        raise refused("cannot be looked through") from None
    return _kept(value, hidden, rules)


def refused(why: str) -> DestinationError:
    return failure("answer_refused", f"the model's answer {why}", sent=True)


def _words(completion: Any) -> str:
    if not getattr(completion, "choices", None):
        raise refused("is missing")
    choice = completion.choices[0]
    if getattr(choice.message, "tool_calls", None) or getattr(choice.message, "function_call", None):
        raise refused("asks for a tool, and none was offered")
    if choice.finish_reason == "length":
        raise refused("was cut at `max_tokens`")
    if choice.finish_reason == "content_filter":
        raise refused("was held back by its server")
    return choice.message.content if isinstance(choice.message.content, str) else ""


def _kept(value: Any, hidden: Any, rules: Answer) -> Any:
    if rules.sensitive == "keep" or value == hidden:
        return value
    if rules.sensitive == "refuse":
        raise refused("has personal data or credentials")
    return hidden
