from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from router.config.blocks import AdapterBlock
from router.config.identity import SecureUrl
from router.config.ledger_keys import SealingKeyReference, SigningKeyReference
from router.config.notify import Link, Notify
from router.config.objectives import ObjectivesConfig
from router.config.projections import Projection
from router.config.retention import RetentionConfig
from router.config.tls import MutualTls
from router.config.witnesses import WitnessesConfig
from router.secret import Secret
from router.settings import Address, Bool, Count, Duration, Fraction, Listen, Name, Size, Span, Strict, Text

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


class SqliteStoreSettings(Strict):
    """Ledger store adapter `sqlite`: files in `state`, for one node. It has no settings."""


class PostgresStoreSettings(Strict):
    """Ledger store adapter `postgres`: one ledger and the subjects' keys of several nodes. Needs `pip install 'lockgate[postgres]'`."""

    url: Secret = Field(
        description="URL of the ledger's database, `${NAME}` or `{file: PATH}`: `postgresql://USER@HOST/DATABASE`; of several hosts, with "
        "commas between them and `target_session_attrs=read-write`. Another machine must prove who it is: `sslmode=verify-full`."
    )
    keys: Secret = Field(
        description="URL of the database of the subjects' keys. It should be another one: a backup of both together is readable to who has "
        "the sealing key, also of subjects who were erased since. The ledger's own URL says that this is wanted.",
    )
    schema_name: Name = Field(
        default="lockgate", max_length=63, description="PostgreSQL schema of the tables; another ledger wants another."
    )
    keys_schema_name: Name | None = Field(
        default=None, max_length=63, description="PostgreSQL schema of the subjects' keys, where it is another one than the ledger's."
    )
    patience: Span = Field(
        default=5.0, description="How long a record waits for a server that went away before it is refused; a failover should fit in."
    )
    connect_within: Span = Field(default=3.0, description="Longest time to connect; less than two seconds are two.")
    answer_within: Span = Field(
        default=10.0, description="Longest time for one answer, a commit with its wait for standbys included; after that it is unsettled."
    )


class TilesConfig(Strict):
    """The ledger's tree as C2SP tlog-tiles over HTTP, read only, up to the latest checkpoint. Leaves hold nothing personal, but say what
    was decided when."""

    listen: Listen = Field(default=Address("127.0.0.1", 8084), description="Where `/checkpoint` and `/tile/…` are served.")
    public: Bool = Field(
        default=False,
        description="Serve them to everybody who reaches the listener, as clients of tlog-tiles expect. Otherwise an API key with the "
        "permission `audit.read` is needed.",
    )
    tls: MutualTls | None = Field(
        default=None, description="Certificate and key; needed where `listen` is not a loopback address, unless `public`."
    )
    insecure: Bool = Field(default=False, description="Take API keys unencrypted on an address that is not loopback.")

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        if not (self.listen.loopback or self.tls or self.public or self.insecure):
            raise ValueError(f"would take API keys unencrypted on {self.listen}; set 'tls', listen on 127.0.0.1, or set 'insecure: true'")
        return self


class IndexConfig(Strict):
    """A signed index by decision, person, and intent and day: what lets an answer prove that it leaves nothing out."""

    records: Count = Field(
        default=1024, ge=16, description="Records of its smallest sections. 16 sections are joined into one, and 16 of those again."
    )


class AuditConfig(Strict):
    """The append-only ledger of decisions."""

    origin: Annotated[Text, AfterValidator(ledger_name)] = Field(
        default="lockgate.example/ledger", description="Name of this ledger on its checkpoints; one ledger, one name."
    )
    store: AdapterBlock = Field(
        default=AdapterBlock(adapter="sqlite"),
        description="Where the ledger and the subjects' keys are: `sqlite`, in `state`, for one node; or `postgres`, for several, with "
        "that adapter's settings.",
    )
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), description="When checkpoints are signed.")
    index: IndexConfig | None = Field(default=IndexConfig(), description="The signed index that certificates rest on; `null` keeps none.")
    tiles: TilesConfig | None = Field(default=None, description="Serve the ledger's tree as tiles. Off unless this is set.")
    key: SigningKeyReference = Field(
        default=SigningKeyReference(file="state/keys/ledger.key"),
        description="Ed25519 key that signs checkpoints: `file` (made where there is none), `env` (PEM, or base64 of the seed) or `vault`; "
        "without this, `keys/ledger.key` in `state`.",
    )
    previous_key: SigningKeyReference | None = Field(
        default=None,
        description="The key that signed until now, when `key` is another one: at the next start it hands the ledger over to `key`, once. "
        "It is not looked at again and may then be destroyed.",
    )
    sealing_key: SealingKeyReference = Field(
        default=SealingKeyReference(file="state/keys/sealing.key"),
        description="Key that wraps the keys under which personal data is encrypted; without this, `keys/sealing.key` in `state`. "
        "Keep it out of the ledger's backups.",
    )
    projections: Mapping[Name, Projection] = Field(
        default_factory=dict, description="Copies of the ledger for analysis, by name. They follow it and never hold it up."
    )
    retention: RetentionConfig | None = Field(
        default=None, description="How long personal parts are kept, by class; without this until a subject is erased."
    )
    witnesses: WitnessesConfig | None = Field(default=None, description="Who confirms the checkpoints; nobody without this.")

    @property
    def lasting(self) -> AuditConfig:
        """Without what is only looked at when the ledger is opened."""
        return self.model_copy(update={"previous_key": None})


class ReviewConfig(Strict):
    """Requests that policy holds for a person."""

    expires: Span = Field(default=86400.0, description="How long a held request waits before it expires undispatched.")
    claim: Span = Field(default=900.0, description="How long a reviewer's claim lasts unless it is renewed; policy may say another time.")
    respond: Span = Field(
        default=86400.0,
        description="How long a reviewer's question waits for its answer before the request expires; policy may say another.",
    )
    send: Span = Field(
        default=86400.0,
        description="How long an approval is good for: what could not be sent within it, because Lockgate or its policy was away, fails "
        "(`approval_too_old`).",
    )
    wait: Duration = Field(
        default=30.0,
        description="Longest that a caller may wait for the end of what is held (`Prefer: wait=N`); `0s` for not at all.",
    )
    waiting: Count = Field(default=4096, description="Most callers who wait so in one worker; others hear 202 at once.")
    answer: Size = Field(default=64 << 10, description="Most that is kept of an upstream's answer to what was approved.")
    keep: Span = Field(default=86400.0, description="For how long that is kept for the one who asked.")
    link: Link | None = Field(
        default=None,
        description="URL under which people look at a held request, such as `https://lockgate.example.com/console/reviews/{review}`.",
    )
    notify: Mapping[Name, Notify] = Field(default={}, description="Who is told that a request waits. Needs `link`.")

    @model_validator(mode="after")
    def _linked(self) -> Self:
        if self.notify and self.link is None:
            raise ValueError("needs a 'link' where it has 'notify': a notice says where to look, and nothing else can be done with it")
        return self


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
    objectives: ObjectivesConfig | None = Field(
        default=ObjectivesConfig(), description="What is held to be good enough; `null` switches all of it off."
    )
