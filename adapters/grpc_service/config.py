"""Settings of a `grpc` destination. Nothing here needs gRPC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.http_upstream.config import Tls
from adapters.messaging.config import MessagingConfig
from router.errors import ConfigError
from router.secret import Secret
from router.settings import Address, Bool, Listen, Size, Text

_METHOD = re.compile(r"[A-Za-z_][\w]*(\.[A-Za-z_]\w*)*/[A-Za-z_]\w*")
_OURS = re.compile(r"x-lockgate-.*|ce-.*|grpc-.*|idempotency-key|traceparent|tracestate|content-type|te|user-agent|.*-bin")
_KEY = re.compile(r"[a-z0-9_.-]{1,64}")


def whole_method(value: str) -> str:
    if _METHOD.fullmatch(value) is None:
        raise ValueError("must be a service's whole name and a method, such as halden.payments.v1.Payments/Cancel")
    return value


def key(value: str) -> str:
    if _KEY.fullmatch(value) is None or _OURS.fullmatch(value) is not None:
        raise ValueError("must be a metadata key in lower case that is not one of Lockgate's own, and not binary")
    return value


class Config(MessagingConfig):
    """Beside what every destination for messages has."""

    target: Listen = Field(description="Host and port of the service. All addresses of the host are taken in turns.")
    method: Annotated[Text, AfterValidator(whole_method)] = Field(description="What is called: one request, one response.")
    descriptors: Text | None = Field(
        default=None, description="File with a FileDescriptorSet (`protoc --include_imports --descriptor_set_out`), from the workspace."
    )
    content: Literal["json", "bytes"] = Field(
        default="json", description="Make the request message of JSON, or take the body for one that is encoded already."
    )
    metadata: Mapping[Annotated[str, AfterValidator(key)], Secret] = Field(
        default_factory=dict, description="Further metadata, such as `authorization`."
    )
    deduplicates: Bool = Field(
        default=False, description="The service acts once on an `idempotency-key`, so that any request may be repeated."
    )
    health: str | None = Field(
        default="", description="Service that its health is asked for when Lockgate looks whether it is there; null asks for none."
    )
    most_answer: Size = Field(default=4 << 20, description="Longest response message that is taken.")
    insecure: Bool = Field(default=False, description="Without TLS.")
    tls: Tls = Field(default=Tls(), description="TLS towards the service.")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.content == "json" and self.descriptors is None:
            raise ValueError("needs 'descriptors' to make messages of JSON; 'content: bytes' passes them on as they are")
        if self.content == "bytes" and self.input is not None:
            raise ValueError("has an 'input' that makes JSON, and 'content: bytes', which takes none")
        if self.insecure and self.tls != Tls():
            raise ValueError("has 'tls' and 'insecure'")
        return self

    def unusable(self, root: Path) -> Iterator[str]:
        """What is wrong with the descriptors, or with the mapping by them."""
        if self.descriptors is not None:
            checking = import_module("adapters.grpc_service.descriptors")  # needs the extra
            try:
                checking.checked(root / self.descriptors, self.method, None if self.input is None else self.input.source)
            except ConfigError as error:
                yield str(error)

    @property
    def address(self) -> Address:
        return self.target
