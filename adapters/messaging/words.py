"""Words of people and of models: what of a message is a question, and what of an answer is seen."""

from __future__ import annotations

import unicodedata

import orjson

from adapters.messaging.document import JSON
from adapters.messaging.message import Message, unmapped

_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji
_LINES = "\n\t"


def question_of(message: Message) -> str:
    """Text as it is; anything else as JSON. Raises DestinationError `input_unmapped`."""
    kind = message.content_type.partition(";")[0].strip().lower()
    try:
        value = orjson.loads(message.content) if kind == JSON or kind.endswith("+json") else message.content.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        raise unmapped("the destination takes text or JSON, and the request's body is neither") from None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if not text.strip() or value is None:
        raise unmapped("the request asks nothing: its body is empty")
    return text


def visible(text: str) -> str:
    """Without control characters, and without those that have no shape of their own: they turn text around or hide it."""
    return "".join(
        each for each in text if each in _LINES or each in _JOINERS or unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co")
    )
