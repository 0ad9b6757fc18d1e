"""How people sign in to the control API and the console."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from router.settings import Bool, Count, Span, Strict


class SignInConfig(Strict):
    """How people sign in with a browser. API keys need none of it."""

    idle: Span = Field(default=1800.0, description="How long a session lasts without a request.")
    absolute: Span = Field(default=43_200.0, description="How long a session lasts at most.")
    sessions: Count = Field(default=5, description="How many sessions one person can have; the oldest ends where there would be more.")
    local: Bool = Field(
        default=True,
        description="Let who can read the sealing key sign in as administrator `local`, by a link that works once. Only where `listen` "
        "is a loopback address.",
    )

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if self.idle > self.absolute:
            raise ValueError("has an 'idle' that is longer than 'absolute'")
        return self
