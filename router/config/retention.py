from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from router.decision import Effect, Level
from router.settings import Name, Span, Strict, duration_text, listed

SIX_MONTHS_S = 184 * 86_400.0  # no six months are longer

Kinds = Annotated[tuple[Literal["decision", "outcome", "review", "evidence", "system"], ...], BeforeValidator(listed)]
Intents = Annotated[tuple[Name, ...], BeforeValidator(listed)]
Risks = Annotated[tuple[Level, ...], BeforeValidator(listed)]
Effects = Annotated[tuple[Effect, ...], BeforeValidator(listed)]


class RetentionClassConfig(Strict):
    """Records that match in every one of `kind`, `intent`, `risk` and `effect` that is given; outcomes and reviews go by their decision."""

    name: Name = Field(description="What the class is called in records and on the command line.")
    keep: Span = Field(description="How long personal parts of these records are kept, such as `400d`.")
    kind: Kinds = Field(default=(), description="Kinds of records; without this every kind but `system`, which says who ordered what.")
    intent: Intents = Field(default=(), description="Intents, also such as the catalog no longer has.")
    risk: Risks = Field(default=(), description="Risk levels.")
    effect: Effects = Field(default=(), description="Verdicts.")


class RetentionConfig(Strict):
    """How long personal parts of records are kept. Leaves, hashes and proofs are kept for ever, and so is what matches no class."""

    floor: Span = Field(
        default=SIX_MONTHS_S,
        description="What no class may go below. Six months (184d) is the least, as article 19 of the EU AI Act has it for logs; it can "
        "only be longer.",
    )
    every: Span | None = Field(
        default=None, description="How often the running Lockgate prunes; without this only `lockgate audit prune` does."
    )
    classes: tuple[RetentionClassConfig, ...] = Field(min_length=1, description="The first that matches is a record's class.")

    @model_validator(mode="after")
    def _above_the_floor(self) -> Self:
        if self.floor < SIX_MONTHS_S:
            raise ValueError("must have a 'floor' of six months (184d) or more")
        for each in self.classes:
            if each.keep < self.floor:
                kept, floor = duration_text(each.keep), duration_text(self.floor)
                raise ValueError(f"keeps class '{each.name}' for {kept}, below the floor of {floor}")
        names = [each.name for each in self.classes]
        if len(set(names)) != len(names):
            raise ValueError("has two classes of the same name")
        return self
