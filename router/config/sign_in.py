"""How people sign in to the control API and the console."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from router.config.identity import Algorithm, Claims, SecureUrl, modest, secure_url
from router.config.scopes import Role
from router.secret import Secret
from router.settings import Bool, Count, Duration, Span, Strict, Text


def origin(value: str) -> str:
    """Scheme, host and port, and nothing behind them."""
    parts = urlsplit(secure_url(value))
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be an address without a path, such as https://lockgate.example")
    return f"{parts.scheme}://{parts.netloc}"


class OidcConfig(Strict):
    """People who sign in at an OpenID Connect provider, by the authorization code flow with PKCE."""

    issuer: SecureUrl = Field(description="The provider's exact `issuer`; its configuration is read from there.")
    client_id: Text = Field(description="What the provider knows Lockgate as.")
    client_secret: Secret | None = Field(
        default=None, description="The client's secret, as `${NAME}` or `{file: path}`; a file is read at each sign-in."
    )
    private_key: Text | None = Field(
        default=None,
        description="PEM file of a private key (RSA or P-256) that proves who the client is (`private_key_jwt`) in place of a secret, "
        "relative to the configuration file.",
    )
    private_key_id: Text | None = Field(default=None, description="The `kid` that the provider knows that key by.")
    public_url: Annotated[str, AfterValidator(origin)] = Field(
        description="Where browsers reach the control API, such as https://lockgate.example. The provider must know "
        "`PUBLIC_URL/console/sign-in/oidc/callback` as redirect URI."
    )
    scopes: tuple[Text, ...] = Field(default=("openid",), description="What is asked for, beside `openid`.")
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256",), min_length=1, description="Accepted signature algorithms of ID tokens.")
    leeway: Annotated[Duration, AfterValidator(modest)] = Field(default=30.0, description="How far clocks may differ.")
    max_age: Span | None = Field(
        default=None, description="How long ago somebody may have proved who they are; the provider asks them again."
    )
    recheck: Span = Field(
        default=3600.0,
        description="After how long the provider is asked again, without showing anything, who this is and what they may do.",
    )
    subject_prefix: str = Field(
        default="", max_length=64, pattern=r"^[A-Za-z0-9:._/-]*$", description="Put before every subject's id, as in `identity.jwt`."
    )
    claims: Claims = Field(default=Claims(roles="groups"), description="Which claims of the ID token say who somebody is.")
    roles: dict[Text, tuple[Role, ...]] = Field(
        min_length=1, description="Roles by a value of the claim `claims.roles`. Who has none is not let in."
    )
    tenant_required: Bool = Field(default=False, description="Refuse who belongs to no tenant: without one a person sees every tenant's.")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("must have either 'client_secret' or 'private_key'")
        return self


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

    break_glass: Bool = Field(
        default=True,
        description="Let who can read the sealing key in by `lockgate console break-glass`, whatever the provider and the policy of the "
        "control API do; for a short while, under an incident's id, and loudly.",
    )
    oidc: OidcConfig | None = Field(default=None, description="An OpenID Connect provider; nobody signs in by a link then.")

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if self.idle > self.absolute:
            raise ValueError("has an 'idle' that is longer than 'absolute'")
        return self
