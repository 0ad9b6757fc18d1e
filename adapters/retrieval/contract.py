"""What a retrieval service is asked and what it may say. `docs/destinations/retrieval.md` has the same in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

WEB = ("http", "https")
MOST_PASSAGES = 100
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]


def link(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("must be a URL") from None
    if parts.scheme not in WEB or not parts.hostname or parts.username is not None or not value.isprintable():
        raise ValueError("must be a URL of the web")
    return value


class _Said(BaseModel):
    """Strict: `"0.8"` is no number. What is not named here is left out, so that a service may say more than Lockgate passes on."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class Source(_Said):
    """Where a passage is from."""

    id: Name
    title: Annotated[str, StringConstraints(max_length=1000)] | None = None
    url: Annotated[str, StringConstraints(max_length=4000), AfterValidator(link)] | None = None


class Passage(_Said):
    text: Annotated[str, StringConstraints(min_length=1)]
    source: Source
    score: float | None = None


class Found(_Said):
    """`cites`: places in `passages`, from 0, that the answer rests on."""

    passages: Annotated[list[Passage], Field(max_length=MOST_PASSAGES)]
    answer: Annotated[str, StringConstraints(min_length=1)] | None = None
    cites: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if any(place >= len(self.passages) for place in self.cites):
            raise ValueError("cites a passage that is not there")
        return self


def question(text: str, most: int, filters: Mapping[str, Any] | None, message_id: str) -> dict[str, Any]:
    return {"question": text, "most": most, "filters": dict(filters) if filters is not None else {}, "id": message_id}
