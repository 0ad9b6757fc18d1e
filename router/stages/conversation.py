"""What a text means after what was said before: an answer to what its sender was asked, or more of the same.

Both only where the text alone is not understood, and neither can lead to an intent that was not offered to, or accepted from, this sender
in this conversation. English, as courtesies are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.decision import Turn

_PLACES = {
    "first": 0, "1st": 0, "1": 0, "one": 0, "second": 1, "2nd": 1, "2": 1, "two": 1, "third": 2, "3rd": 2, "3": 2, "three": 2, "fourth": 3,
    "4th": 3, "4": 3, "four": 3, "fifth": 4, "5th": 4, "5": 4, "five": 4, "last": -1, "latter": -1, "former": 0,
}  # fmt: skip
_YES = r"(?:yes|yeah|yep|sure|ok|okay|right|correct|exactly)"
_CHOICE = re.compile(
    rf"(?:{_YES}[,.!]? )?(?:please )?(?:i (?:mean|meant|want) )?(?:the |option |number |no\.? |#)?"
    rf"({'|'.join(sorted(_PLACES, key=len, reverse=True))})(?: one| option)?(?:,? please)?[.!]?",
    re.IGNORECASE,
)
_AGREED = re.compile(
    rf"{_YES}(?:,? (?:please|that one|that's it|that is it|do that|do it))?[.!]?|that one(?:,? please)?[.!]?", re.IGNORECASE
)


def chosen(text: str, earlier: Sequence[Turn]) -> str | None:
    """The intent that a normalised text chooses of those that its sender was just offered; None where it chooses none of them."""
    offered = earlier[-1].offered if earlier else ()
    if not offered:
        return None
    if len(offered) == 1 and _AGREED.fullmatch(text):
        return offered[0]
    found = _CHOICE.fullmatch(text)
    if found is None:
        return None
    place = _PLACES[found[1].lower()]
    if place == -1 and len(offered) < 2:
        return None
    return offered[place] if place < len(offered) else None


def continued(text: str, earlier: Sequence[Turn]) -> tuple[str, str] | None:
    """What was said last, with this after it, and the intent that it had; None where it had none that was accepted."""
    last = earlier[-1] if earlier else None
    if last is None or last.intent is None or not last.text:
        return None
    return f"{last.text.rstrip('.!?; ')}. {text}", last.intent
