"""Settings of a `retrieval` destination."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from adapters.retrieval.contract import MOST_PASSAGES
from router.config.identity import SecureUrl
from router.secret import Secret
from router.settings import Size, Span
from router.templates import Input

_FIELD = re.compile(r"[a-z0-9-]{1,64}")
_OURS = re.compile(r"(ce|x-lockgate|content|transfer)-.*|host|connection|accept.*|traceparent|tracestate|idempotency-key|user-agent")


def field(value: str) -> str:
    if _FIELD.fullmatch(value) is None or _OURS.fullmatch(value) is not None:
        raise ValueError("must be a header field in lower case that is not one of Lockgate's own")
    return value


class Config(MessagingConfig):
    """Beside what every destination for messages has. `input`, or the body, is the question."""

    url: SecureUrl = Field(description="Where questions are posted to.")
    passages: Annotated[int, Field(ge=1, le=MOST_PASSAGES)] = Field(default=8, description="Most passages that are asked for, and taken.")
    filters: Input | None = Field(
        default=None, description='An object that narrows the search, such as `{tenant: "{{ subject.tenant }}"}`: who may read what.'
    )
    sources: Literal["cited", "given", "optional"] = Field(
        default="given",
        description="What an answer needs: passages that it cites (`cited`), passages at all (`given`), or nothing. Others are refused.",
    )
    headers: Mapping[Annotated[str, AfterValidator(field)], Secret] = Field(
        default_factory=dict, description="Further header fields, such as `authorization`."
    )
    connect: Span = Field(default=3.0, description="Longest time until the connection stands.")
    most_answer: Size = Field(default=1 << 20, description="Longest answer that is read.")
    tls: Tls = Field(default=Tls(), description="TLS towards the service.")
