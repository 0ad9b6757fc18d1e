"""TLS of listeners. The files are read when Lockgate starts, and again when they change."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from router.settings import Strict, Text


def version(value: object) -> object:
    """YAML reads 1.2 as a number."""
    return str(value) if isinstance(value, float) else value


class Tls(Strict):
    certificate: Text = Field(description="PEM file with the certificate chain, relative to the configuration file.")
    key: Text = Field(description="PEM file with the private key, relative to the configuration file.")


class MutualTls(Tls):
    """A listener's certificates, and what it wants of its callers'. The files are read again when one changes and on SIGHUP."""

    also: tuple[Tls, ...] = Field(default=(), description="Further certificates, for callers that ask for one of their DNS names.")
    minimum_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(version, json_schema_input_type=Literal["1.2", "1.3"])] = Field(
        default="1.2", description="Oldest version of TLS that is spoken."
    )

    client_ca: Text | None = Field(
        default=None,
        description="PEM file with the authorities of callers' certificates. Nobody else's are accepted, not the system's either.",
    )
    client_certificates: Literal["none", "optional", "required"] = Field(
        default="none", description="Whether callers may or must show a certificate. `identity.certificates` says who they are then."
    )

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.client_certificates != "none" and self.client_ca is None:
            raise ValueError(f"has 'client_certificates: {self.client_certificates}', and no 'client_ca' that says whose")
        if self.client_certificates == "none" and self.client_ca is not None:
            raise ValueError("has a 'client_ca' that nothing is held against; set 'client_certificates' to optional or required")
        return self

    @property
    def pairs(self) -> tuple[Tls, ...]:
        return (self, *self.also)
