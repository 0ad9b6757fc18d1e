from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from router.config.identity import modest
from router.settings import Span, Strict, Text


class WitnessesConfig(Strict):
    """Other parties that are shown every checkpoint, and cosign it when it continues what they saw before."""

    policy: Text = Field(
        description="File that names the witnesses and says how many of them are enough, in the form of C2SP `tlog-policy`, relative to "
        "the configuration file. Read at the start."
    )
    unreachable: Literal["refuse", "sign_unwitnessed"] = Field(
        default="refuse",
        description="What happens at the start when too few witnesses confirm where the ledger ends: `refuse` to start, or "
        "`sign_unwitnessed`, which goes on, and on record. A witness that contradicts the ledger always ends the start.",
    )
    timeout: Annotated[Span, AfterValidator(modest)] = Field(default=5.0, description="How long a witness may take to answer.")
    renew: Span = Field(
        default=3600.0, description="How old cosignatures of the newest checkpoint may become before witnesses are asked for new ones."
    )
    ready_within: Span | None = Field(
        default=None,
        description="`/readyz` says no once the last checkpoint that enough witnesses confirmed is older than this; without it, never.",
    )
    ca: Text | None = Field(
        default=None, description="PEM file of the certificate authorities of witnesses with an https URL, in the place of the system's."
    )
