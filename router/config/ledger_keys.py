"""Where the ledger's own keys are: a file, the environment, or a vault that signs and never hands the key out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_serializer, model_validator

from router.config.identity import SecureUrl
from router.secret import Secret
from router.settings import Count, Span, Strict, Text

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACE = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


def variable(value: str) -> str:
    if not VARIABLE.fullmatch(value):
        raise ValueError("must be the name of an environment variable, without '$'")
    return value


def place(value: str) -> str:
    """It becomes a part of a path; what could lead out of it is refused."""
    if not PLACE.fullmatch(value) or any(set(part) <= {"."} for part in value.split("/")):
        raise ValueError("must be letters, digits, '_', '-' and '.'; a mount may have '/' between")
    return value


def name(value: str) -> str:
    if "/" in value:
        raise ValueError("must be one name, without '/'")
    return place(value)


class Reach(Strict):
    """How a HashiCorp Vault or an OpenBao is reached."""

    address: SecureUrl = Field(description="Base URL of the vault, such as https://vault.example:8200.")
    namespace: Annotated[Text, AfterValidator(place)] | None = Field(default=None, description="Namespace of the mount.")
    token: Secret = Field(
        description="Token for the vault, as `${NAME}` or `{file: path}`; a file is read for each request, so that an agent may renew it."
    )
    ca: Text | None = Field(
        default=None, description="PEM file of the authority that signed the vault's certificate, relative to the configuration file."
    )
    timeout: Span = Field(default=5.0, description="Longest time for one request.")


class Transit(Reach):
    """How a transit engine is reached, and which of its keys is meant."""

    key: Annotated[Text, AfterValidator(name)] = Field(description="Name of the key in the transit engine.")
    mount: Annotated[Text, AfterValidator(place)] = Field(default="transit", description="Where the transit engine is mounted.")


class VaultKey(Transit):
    """A key of the type `ed25519`. It never leaves the vault, and the token needs `read` on it and `update` on signing with it."""

    version: Count = Field(
        default=1, description="Which version of the key signs. A rotation in the vault changes nothing until the ledger is handed over."
    )


class VaultWrap(Transit):
    """A key of a type that encrypts, under which a file beside Lockgate is wrapped; it is unwrapped once, at the start."""

    wrapped: Text = Field(
        description="File with the wrapped key, relative to the configuration file. Where there is none, the vault makes a key for it."
    )


class KeyReference(Strict):
    """Exactly one of `file` and `env`; subclasses know more kinds."""

    file: Text | None = Field(default=None, description="Path, relative to the configuration file.")
    env: Annotated[Text, AfterValidator(variable)] | None = Field(
        default=None, description="Name of the environment variable that holds the key; read when it is needed, and never shown."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_dump()) != 1:
            *most, last = (f"'{name}'" for name in type(self).model_fields)
            raise ValueError(f"must have exactly one of {', '.join(most)} and {last}")
        return self

    @model_serializer
    def _dump(self) -> dict[str, Any]:
        """Only what it is, not what it might have been."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


class SigningKeyReference(KeyReference):
    """Where an Ed25519 key is."""

    vault: VaultKey | None = Field(default=None, description="A key in HashiCorp Vault or OpenBao, which signs and keeps it.")


class SealingKeyReference(KeyReference):
    """Where the key is that wraps the subjects' keys: 64 hex digits, or wrapped by a vault."""

    vault: VaultWrap | None = Field(default=None, description="A key that HashiCorp Vault or OpenBao wraps, and unwraps at each start.")
