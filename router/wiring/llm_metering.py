"""What asking a language model costs, counted where it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.errors import ClassifierError
from router.ports import Chat, Clock, Completion

BYTES_A_TOKEN = 3  # where a server does not say what it used
NOT_SENT = {"llm_circuit_open", "llm_budget"}


@dataclass(frozen=True, slots=True)
class Used:
    """`calls` were sent to the server, tokens are what it says that it used, and `seconds` were waited for it."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Meter:
    """See `ports.Chat`. `tokens` is what a bound is held against: what the server said that it used, and a careful guess for calls of
    which it said nothing, so that a server which does not count cannot be asked without end."""

    def __init__(self, chat: Chat, max_tokens: int, clock: Clock) -> None:
        self._chat = chat
        self._max_tokens = max_tokens
        self._clock = clock
        self._calls = self._prompt = self._completion = self._ns = 0
        self.tokens = 0

    @property
    def used(self) -> Used:
        return Used(self._calls, self._prompt, self._completion, round(self._ns / 1e9, 3))

    async def complete(self, system: str, user: str, schema: Mapping[str, Any]) -> Completion:
        guess, began = (len(system.encode()) + len(user.encode())) // BYTES_A_TOKEN + self._max_tokens, self._clock.monotonic_ns()
        try:
            found = await self._chat.complete(system, user, schema)
        except ClassifierError as error:
            if error.code not in NOT_SENT:
                self._calls += 1
                self.tokens += guess
            raise
        finally:
            self._ns += self._clock.monotonic_ns() - began
        self._calls += 1
        self._prompt += found.prompt_tokens
        self._completion += found.completion_tokens
        self.tokens += found.prompt_tokens + found.completion_tokens or guess
        return found
