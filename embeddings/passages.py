"""Long texts: what is asked for is one sentence among greetings, stories and attachments, and a vector of the whole is about none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from embeddings.prediction import Prediction

LONG = 160  # characters; hardly a request of one sentence has more
FEWEST = 3
# A passage beside the clearest one that is as plainly about another intent: the text asks for two things.
OTHER_SCOPE, OTHER_CONFIDENCE = 0.8, 0.7
# People ask at the beginning or at the end; each passage costs a forward of its own.
FIRST, LAST = 8, 4
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
    `len(parts)` chances to look like a request by accident, so the odds of its scope are divided by that. Where another passage is about
    another intent, both are candidates and there is no margin between them."""
    best = max(parts, key=lambda part: part.scope)
    odds = best.scope / max(1.0 - best.scope, 1e-12) / len(parts)
    scope = odds / (1.0 + odds)
    found = replace(best, scope=scope) if scope > whole.scope else whole
    others = [part for part in parts if _is_another(part, found)]
    if others:
        other = max(others, key=lambda part: part.scope)
        found = replace(found, candidates=(found.candidates[0], other.candidates[0]), margin=0.0)
    embed_us, head_us = (sum(getattr(each, name) for each in (whole, *parts)) for name in ("embed_us", "head_us"))
    return replace(found, embed_us=embed_us, head_us=head_us)


def _is_another(part: Prediction, found: Prediction) -> bool:
    differs = part.candidates[0].intent != found.candidates[0].intent
    return differs and part.scope >= OTHER_SCOPE and part.confidence >= OTHER_CONFIDENCE
