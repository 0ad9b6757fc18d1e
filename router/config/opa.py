"""Settings of policy engines beside the embedded one, and of comparing two of them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from router.config.blocks import AdapterBlock
from router.config.identity import secure_url
from router.secret import Secret
from router.settings import Count, Fraction, Span, Strict, Text

UNIX = "unix://"


def server_url(value: str) -> str:
    """https, http to this machine, or a socket of this machine; nothing in it that belongs into other settings."""
    if value.startswith(UNIX):
        if not value.startswith(f"{UNIX}/") or len(value) == len(UNIX) + 1:
            raise ValueError("must name a socket by its whole path, such as unix:///run/opa/opa.sock")
        return value
    try:
        found = secure_url(value)
    except ValueError:
        raise ValueError("must be an https:// URL, an http:// URL of this machine, or unix:///PATH") from None
    if "@" in found or "?" in found or "#" in found:
        raise ValueError("must have no user, query or fragment")
    return found.rstrip("/")


class OpaEngine(Strict):
    """Policy engine adapter `opa`: an OPA server, asked over its REST API. What it holds decides, and not the policies' folder."""

    url: Annotated[str, AfterValidator(server_url)] = Field(
        description="URL of the server, such as `http://127.0.0.1:8181`, or its socket, `unix:///run/opa/opa.sock`. There is no default."
    )
    token: Secret | None = Field(default=None, description="Bearer token, `${NAME}` or `{file: PATH}`; a file is read again at each look.")
    ca: Text | None = Field(
        default=None,
        description="PEM file of the authorities that are believed instead of the system's, relative to the configuration file.",
    )
    certificate: Text | None = Field(default=None, description="PEM file of the certificate that is shown to the server.")
    key: Text | None = Field(default=None, description="PEM file of that certificate's key.")
    refresh: Span = Field(
        default=10.0, description="How often the server is asked for its health and for what it holds; six times that, and it is unknown."
    )
    failures: Count = Field(default=5, description="Failures in a row after which the server is left alone for a time.")
    open_for: Span = Field(default=2.0, description="How long it is then left alone; requests are denied meanwhile.")

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("needs 'certificate' and 'key' together")
        if (self.ca or self.certificate) and not self.url.startswith("https://"):
            raise ValueError("has TLS files although 'url' is not https")
        return self


class CompareConfig(Strict):
    """A second engine that judges some of the live requests again, without effect. Any difference is counted, logged and recorded."""

    engine: AdapterBlock = Field(description="The second engine: `embedded`, `isolated` or `opa`, with that adapter's settings.")
    share: Fraction = Field(default=0.01, description="The share of evaluations that are put to it, such as `1%`.")
    deadline: Span = Field(default=1.0, description="Longest time for one of its evaluations.")
    queue: Count = Field(default=256, description="Evaluations that may wait for it in each worker; what comes beyond that is skipped.")
    concurrency: Count = Field(default=2, description="How many are put to it at once by each worker.")
