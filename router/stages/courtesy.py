"""Courtesies around a request, in English: they say nothing of what is asked for, and move a text away from the examples."""

from __future__ import annotations

import re

_GREETING = r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))(?: (?:there|all|everyone|everybody|team|folks|support))?[,.!:]* "
_SORRY = r"(?:i was wondering(?: if)?|sorry to bother you|excuse me)[,.:]* "
_ASKING = r"(?:can|could|would|will) you (?:please |kindly )?|(?:please|pls|plz|kindly),? "
_START = re.compile(f"{_GREETING}|{_SORRY}|{_ASKING}", re.IGNORECASE)
_THANKS = r"(?:(?:many )?thanks|thank you)(?: a lot| so much| very much| in advance| for your help)*"
_END = re.compile(rf"[,.!;]? \(?(?:{_THANKS}|please|pls|plz|thx|cheers|(?:kind|best|warm) regards)[.!,)]*$", re.IGNORECASE)
_CLAUSE = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|(?:many )?thanks|thank you|thx|cheers|(?:kind|best|warm) regards|sorry)\b"
    r",?(?: [^ ]+){0,6}",
    re.IGNORECASE,
)
_MOST = 4  # at either end
_TAIL = 60  # characters in which an end is looked for
_LEAST_WORDS = 2  # what is left of a request; "thanks a lot" is a text of its own


def without_courtesies(text: str) -> str:
    """Normalised text without greetings, "could you please" and thanks at its ends, unless hardly anything else is left."""
    start = 0
    for _ in range(_MOST):
        found = _START.match(text, start)
        if found is None:
            break
        start = found.end()
    rest = text[start:]
    for _ in range(_MOST):
        end = _END.search(rest, max(0, len(rest) - _TAIL))
        if end is None:
            break
        rest = rest[: end.start()]
    return rest if len(rest.split(None, _LEAST_WORDS - 1)) >= _LEAST_WORDS else text


def is_courtesy(clause: str) -> bool:
    """Whether a clause by itself is a greeting or thanks."""
    return _CLAUSE.fullmatch(clause.rstrip(".!?; ")) is not None
