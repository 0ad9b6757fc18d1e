"""Settings of every engine behind an HTTP API."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Span, Strict, Text


def base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an http or https URL without user, query and fragment, such as https://engine.internal:8080")
    return value.rstrip("/")


Url = Annotated[Text, AfterValidator(base_url)]


class EngineTls(Strict):
    """PEM files, seen from the working directory. `ca` is trusted instead of the system's authorities."""

    ca: Text | None = Field(default=None, description="Authorities that the engine's certificate is from; without this the system's.")
    certificate: Text | None = Field(default=None, description="Certificate that is shown to the engine (mTLS).")
    key: Text | None = Field(default=None, description="Its private key.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("must have 'certificate' and 'key' together")
        return self


class User(Strict):
    """Who asks."""

    username: Text = Field(description="The user's name.")
    password: Secret = Field(description="The user's password.")


class OneSecret(Strict):
    """Settings of which at most one says who asks."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("login", "token", "oauth") if getattr(self, name, None) is not None]
        if len(given) > 1:
            raise ValueError(f"has '{given[0]}' and '{given[1]}': use one of them")
        return self


class EngineConfig(MessagingConfig):
    """Beside a kind's own settings."""

    tls: EngineTls = Field(default=EngineTls(), description="How the engine proves who it is, and we to it.")
    wait: Span | None = Field(
        default=None, description="Wait so long for the end of the work: 200 with its state, else 202. Shorter than `timeout`."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.wait is not None and self.wait >= self.timeout:
            raise ValueError("must have a 'wait' that is shorter than 'timeout'")
        return self
