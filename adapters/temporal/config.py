"""Settings of a `temporal` destination."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from adapters.messaging.config import MessagingConfig
from router.secret import Secret
from router.settings import Span, Strict, Text
from router.templates import Input, Line

Action = Literal["start", "signal", "signal_with_start", "update", "update_with_start"]
Kind = Literal["keyword", "text", "int", "double", "bool", "datetime", "keyword_list"]
STARTS = frozenset({"start", "signal_with_start", "update_with_start"})
WAITS = frozenset({"start", "update", "update_with_start"})
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")


class TemporalTls(Strict):
    """PEM files. `certificate` with `key` is what we show (mTLS); `server_name` is the name that the server's certificate must carry."""

    ca: Text | None = Field(default=None, description="Authorities that the server's certificate is from; without this the system's.")
    certificate: Text | None = Field(default=None, description="Certificate that is shown to the server (mTLS).")
    key: Text | None = Field(default=None, description="Its private key.")
    server_name: Text | None = Field(default=None, description="Name that the server's certificate must carry.")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("must have 'certificate' and 'key' together")
        return self


class Encryption(Strict):
    """Payloads are encrypted before they leave (AES-256-GCM), in the form of Temporal's own samples: workers need a codec with the key."""

    key: Secret = Field(description="32 bytes in base64.")
    key_id: Text = Field(default="lockgate", description="Name of the key, which stands beside each payload.")


class SearchAttribute(Strict):
    """One that is registered in the namespace. Search attributes are never encrypted: nothing personal belongs in one."""

    type: Kind = "keyword"
    value: Input = Field(description="Its value, with `{{ expressions }}` over the request.")


class Config(MessagingConfig):
    """Settings of a `temporal` destination."""

    address: Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$")] = Field(
        description="Host and port of the frontend, such as `temporal.internal:7233`."
    )
    namespace: Text = Field(default="default", description="The namespace.")
    tls: TemporalTls | None = Field(default=None, description="Speak TLS; without it plain text, for a sidecar or a test.")
    api_key: Secret | None = Field(default=None, description="API key, as Temporal Cloud has them; needs `tls`.")
    encryption: Encryption | None = Field(default=None, description="Encrypt what workflows are given.")
    action: Action = Field(default="start", description="What a request does.")
    workflow: Text | None = Field(default=None, description="Workflow type that is started.")
    workflow_id: Line | None = Field(
        default=None, description="Id of the workflow, with `{{ expressions }}`; without it one that is made of the request's own id."
    )
    task_queue: Text | None = Field(default=None, description="Task queue of the workers.")
    signal: Text | None = Field(default=None, description="Name of the signal.")
    update: Text | None = Field(default=None, description="Name of the update.")
    args: tuple[Input, ...] | None = Field(
        default=None, description="Arguments, each with `{{ expressions }}`; without it one, which is the body after `input`."
    )
    start_args: tuple[Input, ...] = Field(
        default=(), description="Of `signal_with_start` and `update_with_start`: the started workflow's own arguments."
    )
    reuse: Literal["reject", "allow_failed", "allow"] = Field(
        default="reject", description="Whether a workflow may start under the id of one that has ended."
    )
    conflict: Literal["refuse", "use_existing"] = Field(
        default="refuse", description="Of `start`: another request's workflow runs under the id: refuse, or answer with its ids."
    )
    execution_timeout: Span | None = Field(default=None, description="Longest time of the whole workflow.")
    run_timeout: Span | None = Field(default=None, description="Longest time of one run.")
    memo: Mapping[str, Input] = Field(default={}, description="Memo fields beside `lockgate_decision_id` and `lockgate_intent`.")
    search_attributes: Mapping[str, SearchAttribute] = Field(default={}, description="Search attributes, by name.")
    wait: Span | None = Field(
        default=None,
        description="Wait so long for the result: 200 with it, else 202. Shorter than `timeout`. An update without it is answered once "
        "the workflow has accepted it.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in self._needed():
            if getattr(self, name) is None:
                raise ValueError(f"needs '{name}' for the action '{self.action}'")
        self._unused("signal", "signal" in self.action)
        self._unused("update", "update" in self.action)
        for name in ("workflow", "task_queue", "execution_timeout", "run_timeout"):
            self._unused(name, self.action in STARTS)
        self._unused("wait", self.action in WAITS)
        if self.start_args and self.action not in ("signal_with_start", "update_with_start"):
            raise ValueError(f"has 'start_args', which mean nothing for the action '{self.action}'")
        if self.wait is not None and self.wait >= self.timeout:
            raise ValueError("must have a 'wait' that is shorter than 'timeout'")
        if self.api_key is not None and self.tls is None:
            raise ValueError("has 'api_key' without 'tls': a key never travels in plain text")
        for name in self.search_attributes:
            if not ATTRIBUTE.fullmatch(name):
                raise ValueError(f"has the search attribute {name!r}, which is no name")
        return self

    def _needed(self) -> tuple[str, ...]:
        first = ("workflow", "task_queue") if self.action in STARTS else ("workflow_id",)
        return (*first, *(name for name in ("signal", "update") if name in self.action))

    def _unused(self, name: str, used: bool) -> None:
        if not used and getattr(self, name) is not None:
            raise ValueError(f"has '{name}', which means nothing for the action '{self.action}'")
