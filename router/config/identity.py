from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from router.config.scopes import CertificateScope, Role
from router.settings import Bool, Count, Duration, Name, Rate, Strict, Text, Texts

# Asymmetric signatures only: with `none` or HS* whoever can read a public key could forge a token.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
DNS_PATTERN = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LOCAL = ("localhost", "127.0.0.1", "::1")


def secure_url(value: str) -> str:
    """https, or http to this machine."""
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        raise ValueError("must be a URL") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOCAL)):
        raise ValueError("must be an https:// URL, or an http:// URL of this machine")
    return value


def modest(seconds: float) -> float:
    if seconds > 600:
        raise ValueError("must be at most 10m")
    return seconds


SecureUrl = Annotated[str, AfterValidator(secure_url)]


class Jwks(Strict):
    """Where the keys that sign tokens are: a file or a URL."""

    file: Text | None = Field(default=None, description="JWKS file, relative to the configuration file.")
    url: SecureUrl | None = Field(default=None, description="JWKS URL; fetched again when a token names a key that is not known.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("must have either 'file' or 'url'")
        return self


class Claims(Strict):
    """Which claim gives which part of the subject. A dot goes into an object: `realm_access.roles`."""

    id: Text = Field(default="sub", description="Claim with the subject's id.")
    roles: Text = Field(default="roles", description="Claim with the roles, a list or words in one text.")
    groups: Text = Field(default="groups", description="Claim with the groups, a list or words in one text.")
    tenant: Text = Field(default="tenant", description="Claim with the tenant.")
    type: Text = Field(default="type", description="Claim with the kind of subject; `user` where a token has none.")


class JwtIssuer(Strict):
    """One issuer whose tokens are accepted."""

    issuer: Text = Field(description="The exact `iss`.")
    audience: Texts = Field(description="A token must have one of these as `aud`.", min_length=1)
    jwks: Jwks = Field(description="The issuer's public keys.")
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256",), min_length=1, description="Accepted signature algorithms.")
    leeway: Annotated[Duration, AfterValidator(modest)] = Field(default=30.0, description="How far clocks may differ for `exp` and `nbf`.")
    subject_prefix: str = Field(
        default="",
        max_length=64,
        pattern=r"^[A-Za-z0-9:._/-]*$",
        description="Put before the id of every subject of this issuer, so that two issuers' `alice` are not one person to limits, "
        "policies and the audit trail. Two issuers must differ in it.",
    )
    claims: Claims = Field(default=Claims(), description="Where the subject's attributes are.")


def uri_pattern(value: str) -> str:
    parts = urlsplit(value)
    inner = value.removesuffix("/*")
    if not parts.scheme or not parts.netloc or "*" in inner or not value.isascii() or parts.query or parts.fragment:
        raise ValueError("must be a URI such as spiffe://example.org/ns/shop/sa/cart, or one that ends in /* for all below")
    return value


def dns_pattern(value: str) -> str:
    name = value.lower()
    if not DNS_PATTERN.fullmatch(name):
        raise ValueError("must be a DNS name such as cart.shop.example.org, or *.shop.example.org for one more label")
    return name


class CertificateSubject(Strict):
    """Whose certificates, and who their holders are. An exact name comes before a pattern, a longer pattern before a shorter one."""

    uri: Annotated[Text, AfterValidator(uri_pattern)] | None = Field(
        default=None, description="The certificate's URI, such as a SPIFFE ID; `/*` at the end means all below."
    )
    dns: Annotated[Text, AfterValidator(dns_pattern)] | None = Field(
        default=None, description="The certificate's DNS name; `*.` at the start means one label."
    )
    id: Text | None = Field(default=None, description="The subject's id; the URI or DNS name itself without.")
    type: Name = Field(default="service", description="The kind of subject.")
    roles: tuple[Text, ...] = Field(default=(), description="The subject's roles.")
    groups: tuple[Text, ...] = Field(default=(), description="The subject's groups.")
    tenant: Text | None = Field(default=None, description="The subject's tenant.")
    scopes: tuple[CertificateScope, ...] = Field(
        default=("gateway",),
        min_length=1,
        description="What the certificate opens: doors, and of the control API what its roles give (`control`) or single permissions "
        "(`control:metrics.read`).",
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.uri is None) == (self.dns is None):
            raise ValueError("must have either 'uri' or 'dns'")
        return self

    @model_validator(mode="after")
    def _scope_that_gives_something(self) -> Self:
        if "control" in self.scopes and not set(self.roles) & set(get_args(Role)):
            raise ValueError(f"has the scope 'control' and none of the roles that give something there: {', '.join(get_args(Role))}")
        return self


class IdentityConfig(Strict):
    """Who may call."""

    anonymous: Literal["deny", "allow"] = Field(
        default="deny", description="Whether a request without credentials is let in, as `anonymous`."
    )
    api_keys: Bool = Field(default=True, description="Accept API keys made with `lockgate keys create`.")
    jwt: tuple[JwtIssuer, ...] = Field(default=(), description="Issuers whose JSON Web Tokens are accepted.")
    certificates: tuple[CertificateSubject, ...] = Field(
        default=(), description="Who the holders of client certificates are, where a request has no other credential."
    )


class RateLimit(Strict):
    """One rate limit. A request must be within all of them."""

    name: Name = Field(description="Name of the limit, as refusals give it.")
    by: Literal["subject", "tenant", "client", "all", "intent", "subject_intent", "tenant_intent"] = Field(
        description="What is counted separately; `client` is the address. Those with `intent` apply when it is known what a request means; "
        "what they refuse is decided and recorded, all others refuse before that."
    )
    rate: Rate = Field(description="Sustained rate, such as `50/s` or `600/m`.")
    burst: Count = Field(default=1, description="How many may come at once.")
    intents: tuple[Name, ...] = Field(
        default=(), description="Of a limit with `intent`: only these intents, each counted by itself; without this every intent."
    )

    @property
    def of_intents(self) -> bool:
        return self.by.endswith("intent")

    @model_validator(mode="after")
    def _intents_where_they_are_known(self) -> Self:
        if self.intents and not self.of_intents:
            raise ValueError(
                "names 'intents', which are not known yet where it applies: set 'by' to intent, subject_intent or tenant_intent"
            )
        return self
