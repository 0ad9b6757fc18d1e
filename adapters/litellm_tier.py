"""A language model through litellm, which speaks to whatever server is configured.

A call is bounded by a deadline, a number of tokens, a budget a minute and a circuit. What failed is told by code and never by the
library's own words, which may hold the text or the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.http_upstream.circuit import Circuit
from adapters.litellm_library import NO_KEY, Fault, believed, fault_of, litellm, pause_of, server_client
from adapters.token_budget import TokenBudget
from router.config.judgement import ChatConfig
from router.errors import ClassifierError
from router.ports import ChatObserver, Clock, Completion

BYTES_A_TOKEN = 3  # a careful guess before a call; what the server counted is told after it
MOST_BYTES = 1 << 20  # of a response; a choice takes some hundred
ANSWERED = "answered"
FAILURES = {
    Fault.LATE: ("the language model was late", "llm_late"),
    Fault.LIMITED: ("the language model's server limits its callers", "llm_rate_limited"),
    Fault.UNAUTHORIZED: ("the language model's server does not accept the key", "llm_unauthorized"),
    Fault.REFUSED: ("the language model's server refuses the request", "llm_unavailable"),
    Fault.UNAVAILABLE: ("the language model's server gave no usable response", "llm_unavailable"),
}


class LitellmChat:
    """See `ports.Chat`. `tokens_per_minute` is this process's share."""

    def __init__(
        self,
        config: ChatConfig,
        api_key: str | None,
        *,
        tokens_per_minute: float,
        clock: Clock,
        observer: ChatObserver | None = None,
        root: Path = Path(),
    ) -> None:
        self._config = config
        self._api_key = api_key or NO_KEY
        self._clock = clock
        self._observer = observer
        self._client = server_client(config.provider, config.url, self._api_key, config.deadline, MOST_BYTES, ca=believed(config.ca, root))
        self._circuit = Circuit(config.failures, config.open_for)
        self._budget = TokenBudget(tokens_per_minute, self._now())
        self._not_before = 0.0

    async def complete(self, system: str, user: str, schema: Mapping[str, Any]) -> Completion:
        taken = self._admit(len(system.encode()) + len(user.encode()))
        try:
            async with asyncio.timeout(self._config.deadline):
                found = _completion(await litellm.acompletion(**self._call(system, user, schema)))
        except asyncio.CancelledError:
            self._circuit.abandoned()
            raise
        except Exception as error:  # noqa: BLE001  # litellm raises what it likes; all of it is one of our codes
            raise self._failed(error) from None
        self._circuit.succeeded()
        used = found.prompt_tokens + found.completion_tokens
        self._budget.settle(taken, used or taken)
        self._told(ANSWERED, found.prompt_tokens, found.completion_tokens)
        return found

    def _admit(self, size: int) -> int:
        now = self._now()
        if now < self._not_before or not self._circuit.allows(now):
            raise self._refuse("the language model failed too often just now, or asked for a pause", "llm_circuit_open")
        taken = size // BYTES_A_TOKEN + self._config.max_tokens
        if not self._budget.take(taken, now):
            raise self._refuse("the language model's tokens for this minute are spent", "llm_budget")
        self._circuit.enter()
        return taken

    def _call(self, system: str, user: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        config = self._config
        return {
            "model": config.model,
            "custom_llm_provider": config.provider,
            "api_base": config.url,
            "api_key": self._api_key,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "max_tokens": config.max_tokens,
            "temperature": 0,
            "timeout": config.deadline,
            "client": self._client,
            "num_retries": 0,
            "max_retries": 0,
            **_response_format(config.response_format, schema),
        }

    def _failed(self, error: Exception) -> ClassifierError:
        """What was taken from the budget stays taken: the server may well have worked for it."""
        now = self._now()
        self._circuit.failed(now)
        fault = fault_of(error)
        if fault is Fault.LIMITED:
            self._not_before = now + pause_of(error)
        return self._refuse(*FAILURES[fault])

    def _refuse(self, message: str, code: str) -> ClassifierError:
        self._told(code, 0, 0)
        return ClassifierError(message, code)

    def _told(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        if self._observer is not None:
            self._observer.llm_called(result, prompt_tokens, completion_tokens)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _response_format(wanted: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Past litellm's own parameter, which would refuse or rewrite what small servers understand."""
    if wanted == "json_object":
        return {"extra_body": {"response_format": {"type": "json_object", "schema": schema}}}
    if wanted == "json_schema":
        strict = {"name": "choice", "schema": schema, "strict": True}
        return {"extra_body": {"response_format": {"type": "json_schema", "json_schema": strict}}}
    return {}


def _completion(answered: Any) -> Completion:
    """What is missing or has another form is empty: whoever reads the text finds that it is no answer."""
    text = answered.choices[0].message.content if answered.choices else None
    usage = getattr(answered, "usage", None)
    return Completion(
        text if isinstance(text, str) else "",
        answered.model if isinstance(answered.model, str) else "",
        _count(getattr(usage, "prompt_tokens", 0)),
        _count(getattr(usage, "completion_tokens", 0)),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
