"""Which web pages may call from a browser (the Fetch standard's CORS protocol)."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from router.settings import Bool, Span, Strict

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
ORIGIN = re.compile(r"https?://(\*\.)?([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
ANY = "*"
DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def origin(value: str) -> str:
    """As browsers write them: without the scheme's own port, nothing behind it."""
    if value == ANY:
        return value
    lower = value.lower()
    if not ORIGIN.fullmatch(lower):
        raise ValueError("must be an origin such as https://app.example.org, https://*.example.org for one more label, or * for any")
    return lower.removesuffix(DEFAULT_PORTS[lower.partition(":")[0]])


def token(value: str) -> str:
    if not TOKEN.fullmatch(value) or value == ANY:
        raise ValueError("must be a name, such as content-type or PUT")
    return value


def field_name(value: str) -> str:
    name = token(value).lower()
    if name.startswith("access-control-") or "_" in name:
        raise ValueError("may not be a field of CORS itself, nor have '_'")
    return name


Token = Annotated[str, AfterValidator(token)]
FieldName = Annotated[str, AfterValidator(field_name)]


class Cors(Strict):
    """Which web pages may call from a browser. Everything that is not named stays closed; who may do what is for identity and policy."""

    origins: tuple[Annotated[str, AfterValidator(origin)], ...] = Field(
        min_length=1, description="Origins of pages: exact, `https://*.example.org` for one more label, or `*` alone for any."
    )
    methods: tuple[Token, ...] = Field(default=("GET", "HEAD", "POST"), description="Methods that pages may use.")
    headers: tuple[FieldName, ...] = Field(
        default=("authorization", "content-type"), description="Request headers that pages may set, beside what browsers let anybody set."
    )
    expose: tuple[FieldName, ...] = Field(default=("x-lockgate-decision-id",), description="Response headers that pages may read.")
    credentials: Bool = Field(default=False, description="Whether browsers may send cookies and client certificates along.")
    max_age: Span = Field(default=600.0, description="How long a browser may keep the answer to a preflight.")

    @model_validator(mode="after")
    def _not_everybody_with_credentials(self) -> Self:
        if ANY in self.origins and len(self.origins) > 1:
            raise ValueError("has '*' beside other origins; keep one")
        if ANY in self.origins and self.credentials:
            raise ValueError("has 'credentials' for any origin, so that every page could act for its reader; name the origins")
        return self
