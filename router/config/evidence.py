from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from router.config.blocks import FileReference
from router.config.identity import SecureUrl
from router.config.projections import Projection
from router.settings import Bool, Count, Fraction, Name, Span, Strict, Text

ORIGIN = re.compile(r"[!-*,-~]{1,200}")


def ledger_name(value: str) -> str:
    # C2SP signed-note: a key name is not empty and has no space and no plus sign.
    if not ORIGIN.fullmatch(value):
        raise ValueError("must be a name such as ledger.example.com/lockgate, without spaces or '+'")
    return value


class CheckpointConfig(Strict):
    """Signed statements of how long the ledger was and what was in it."""

    every: Span = Field(default=60.0, description="Longest time between two checkpoints while records are written.")
    records: Count = Field(default=1000, description="Most records between two checkpoints.")
    directory: Text = Field(
        default="state/checkpoints",
        description="Where checkpoints are written; without this, `checkpoints` in `state`. Copy them off the machine: only there "
        "do they prove anything.",
    )


class AuditConfig(Strict):
    """The append-only ledger of decisions."""

    origin: Annotated[Text, AfterValidator(ledger_name)] = Field(
        default="lockgate.example/ledger", description="Name of this ledger on its checkpoints; one ledger, one name."
    )
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="When checkpoints are signed.")
    key: FileReference = Field(
        default=FileReference(file="state/keys/ledger.key"),
        description="Ed25519 key that signs checkpoints, made where there is none; without this, `keys/ledger.key` in `state`.",
    )
    sealing_key: FileReference = Field(
        default=FileReference(file="state/keys/sealing.key"),
        description="Key that wraps the keys under which personal data is encrypted; without this, `keys/sealing.key` in `state`. "
        "Keep it out of the ledger's backups.",
    )
    projections: Mapping[Name, Projection] = Field(
        default_factory=dict, description="Copies of the ledger for analysis, by name. They follow it and never hold it up."
    )


class ReviewConfig(Strict):
    """Requests that policy holds for a person."""

    expires: Span = Field(default=86400.0, description="How long a held request waits before it expires undispatched.")


class TelemetryConfig(Strict):
    """Traces, metrics and logs. None of this touches the audit trail, which is always complete."""

    otlp: SecureUrl | None = Field(
        default=None,
        description="Base URL of an OTLP/HTTP collector for traces, metrics and logs. "
        "`OTEL_EXPORTER_OTLP_HEADERS` in the environment can carry its credential. A change needs a restart.",
    )
    sample: Fraction = Field(
        default=0.01, description="Share of requests that are traced in full, unless a trusted proxy's `traceparent` says."
    )
    prometheus: Bool = Field(default=True, description="Serve `/metrics` on the control listener.")
    log: Literal["text", "json"] = Field(default="text", description="Form of log lines on standard error.")
    access_log: Bool = Field(
        default=False,
        description="A log line for every request: decision id, method, route, status, result and milliseconds, with the trace id; nothing "
        "personal.",
    )
