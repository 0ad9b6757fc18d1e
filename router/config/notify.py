"""Who is told that a held request waits for somebody, and over which channel."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from router.config.blocks import AdapterBlock
from router.settings import Count, Span, Strict, Text

Event = Literal["held", "escalated", "information_asked", "expiring", "break_glass"]
Risk = Literal["low", "medium", "high", "critical"]
_LINK = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/!$&'()*+,;=:@%?#-]*)?")
PLACE = "{review}"


def link(value: str) -> str:
    if value.count(PLACE) != 1 or _LINK.fullmatch(value.replace(PLACE, "0")) is None:
        raise ValueError("must be a URL with '{review}' where the review's id belongs")
    if value.partition(PLACE)[0].count("/") < 3:
        raise ValueError("must have '{review}' behind its host")
    if value.startswith("http:") and re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]", value) is None:
        raise ValueError("must be https, but for this machine's own")
    return value


Link = Annotated[Text, AfterValidator(link)]


class Notify(Strict):
    """Whom to tell of what. A filter that is left out lets everything through."""

    through: AdapterBlock = Field(description="The channel: `webhook`, `email`, `slack` or `teams`, with its settings.")
    events: tuple[Event, ...] = Field(
        default=("held", "escalated", "information_asked", "expiring", "break_glass"),
        min_length=1,
        description="What to tell of. `break_glass` is about no request, and no filter beside this one counts for it.",
    )
    risks: tuple[Risk, ...] = Field(default=(), description="Only of requests of these risks.")
    routes: tuple[Text, ...] = Field(default=(), description="Only of requests to these routes; `*` stands for anything.")
    roles: tuple[Text, ...] = Field(default=(), description="Only of requests for whose decision policy wants one of these roles.")
    before: Span = Field(
        default=3600.0, description="How long before a request expires that is told; half of its life where that is short."
    )
    patience: Span = Field(default=3600.0, description="For how long telling is tried.")
    per_minute: Count = Field(default=60, description="Most that are told in a minute; others wait for the next.")
