"""`witness.yaml`: a witness's own small configuration, apart from any workspace."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from router.audit.tree.checkpoint import NoteVerifier
from router.config.evidence import ledger_name
from router.config.identity import SecureUrl
from router.config.tls import Tls
from router.errors import AuditError
from router.settings import Address, Bool, Count, Listen, Rate, Strict, Text


def log_key(value: str) -> str:
    try:
        NoteVerifier(value)
    except AuditError as error:
        raise ValueError("must be a log's Ed25519 verifier key of the form name+keyid+base64") from error
    return value


class WitnessConfig(Strict):
    """A witness. Paths are relative to the file."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Annotated[Text, AfterValidator(ledger_name)] = Field(
        description="What it signs as, such as witness.example.com/audit, without spaces or '+'. One key, one name."
    )
    logs: tuple[Annotated[Text, AfterValidator(log_key)], ...] = Field(
        min_length=1,
        description="Verifier keys of the logs that it witnesses. A key's name is the log's origin; a log may have several keys.",
    )
    listen: Listen = Field(default=Address("127.0.0.1", 8090), description="Where logs bring their checkpoints.")
    url: SecureUrl | None = Field(default=None, description="URL under which logs reach it, for the line that it prints for policy files.")
    key: Text = Field(default="witness.key", description="Its Ed25519 key, made where there is none.")
    state: Text = Field(default="witness.state", description="What it remembers of each log. Never put back an old copy.")
    rate: Rate = Field(default=10.0, description="How many calls an address may make.")
    burst: Count = Field(default=50, description="How many of them at once.")
    tls: Tls | None = Field(default=None, description="Certificate and key; needed where `listen` is not a loopback address.")
    insecure: Bool = Field(default=False, description="Serve unencrypted on an address that is not loopback.")
    log: Literal["text", "json"] = Field(default="text", description="Form of log lines on standard error.")

    @model_validator(mode="after")
    def _encrypted_or_local(self) -> Self:
        if not (self.listen.loopback or self.tls or self.insecure):
            raise ValueError(f"would be served unencrypted on {self.listen}; set 'tls', listen on 127.0.0.1, or set 'insecure: true'")
        return self
