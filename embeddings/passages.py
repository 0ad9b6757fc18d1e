"""Long texts: what is asked for is one sentence among greetings, stories and attachments, and a vector of the whole is about none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from embeddings.prediction import Prediction

LONG = 160  # characters; hardly a request of one sentence has more
FEWEST = 3
# People ask at the beginning or at the end; each passage costs a forward of its own.
FIRST, LAST = 12, 4
MOST_CHARACTERS = 200
END = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def passages(text: str) -> tuple[str, ...]:
    """The sentences of a long text, at most FIRST and LAST of them; none of a short one."""
    if len(text) < LONG:
        return ()
    found = [part for part in END.split(text) if part.strip()]
    if len(found) > FIRST + LAST:
        found = [*found[:FIRST], *found[-LAST:]]
    return tuple(part[:MOST_CHARACTERS] for part in found) if len(found) >= FEWEST else ()


def clearest(whole: Prediction, parts: Sequence[Prediction]) -> Prediction:
    """The whole text's prediction or that of the passage that is most about an intent, whichever is more about one. A passage had
    `len(parts)` chances to look like a request by accident, so the odds of its scope are divided by that."""
    best = max(parts, key=lambda part: part.scope)
    odds = best.scope / max(1.0 - best.scope, 1e-12) / len(parts)
    scope = odds / (1.0 + odds)
    embed_us, head_us = (sum(getattr(each, name) for each in (whole, *parts)) for name in ("embed_us", "head_us"))
    return replace(replace(best, scope=scope) if scope > whole.scope else whole, embed_us=embed_us, head_us=head_us)
