"""One chat completion for each message."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import openai
import orjson

from adapters.litellm_library import NO_KEY, Fault, believed, fault_of, litellm, pause_of, server_client
from adapters.llm.answers import answer_of
from adapters.llm.budget import DayBudget
from adapters.llm.config import Config
from adapters.messaging.destination import Receipt, failure
from adapters.messaging.document import DECISION_ID, JSON
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.messaging.words import question_of
from router.errors import DestinationError, StateError
from router.masking import Masker
from router.ports import Clock, Marks, Tallies

BYTES_A_TOKEN = 3  # a careful guess before a call; what the server counted is told after it
BYTES_A_CHARACTER = 8  # of an answer, as JSON may write it
MOST_BESIDE = 1 << 20
CARRIED = (DECISION_ID, "traceparent")
KEY = "idempotency-key"
DAY_S = 86_400
TALLY_S = 2 * DAY_S  # nodes' clocks need not agree when a day is over
FAULTS = {
    Fault.LATE: ("upstream_timeout", "the model's server did not answer in time"),
    Fault.LIMITED: ("upstream_throttled", "the model's server limits its callers"),
    Fault.UNAUTHORIZED: ("upstream_denied", "the model's server does not accept the key"),
    Fault.REFUSED: ("upstream_refused", "the model's server refuses the request"),
    Fault.UNAVAILABLE: ("upstream_unavailable", "the model's server gave no usable response"),
}


class LlmPeer:
    repeatable = True
    """A question has no effect but its tokens."""

    def __init__(self, settings: Config, name: str, clock: Clock, root: Path, state: Path | None, mask: Masker) -> None:
        self._settings, self._clock, self._root, self._mask = settings, clock, root, mask
        budget = settings.budget
        bounded = budget.per_day is not None or budget.per_subject is not None
        self._budget = DayBudget((state or root) / "budgets" / f"{name}.sqlite", budget.per_day, budget.per_subject) if bounded else None
        self._name = name
        self._tallies: Tallies | None = None
        self._key = NO_KEY
        self._client: openai.AsyncOpenAI | None = None

    def share(self, tallies: Tallies | None, endpoints: Marks | None) -> None:
        """Budgets are of all nodes together where they share state."""
        self._tallies = tallies

    async def open(self) -> None:
        settings = self._settings
        self._key = settings.api_key.reveal(self._root) if settings.api_key is not None else NO_KEY
        most = MOST_BESIDE + settings.answer.most_chars * BYTES_A_CHARACTER
        carried = frozenset({*CARRIED, KEY})
        self._client = server_client(
            settings.provider, settings.url, self._key, settings.timeout, most, carried, believed(settings.ca, self._root)
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ping(self) -> None:
        """Asks for the list of models, where the server speaks OpenAI's protocol; any answer but a refusal of the key will do."""
        if self._client is None:
            return
        try:
            await self._client.models.list(timeout=3.0)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise failure(*FAULTS[Fault.UNAUTHORIZED]) from None
        except Exception as error:  # noqa: BLE001  # as below
            raise _translated(error) from None

    async def deliver(self, message: Message) -> Receipt:
        question, day = question_of(message), self._clock.now_ns() // 10**9 // DAY_S
        subject = _subject(message)
        taken = (len(self._settings.system.encode()) + len(question.encode())) // BYTES_A_TOKEN + self._settings.max_tokens
        tallies = self._tallies  # another configuration may share another state before the answer is there
        await self._take(tallies, day, subject, taken)
        try:
            completion = await litellm.acompletion(**self._call(question, message))
        except Exception as error:  # noqa: BLE001  # litellm raises what it likes; all of it is one of our codes
            raise _translated(error) from None  # what was taken stays taken: the server may well have worked for it
        used = _usage(completion)
        await self._settle(tallies, day, subject, taken, sum(used.values()))
        answer = answer_of(completion, self._settings.answer, self._mask)
        model = completion.model if isinstance(getattr(completion, "model", None), str) else self._settings.model
        told = {"answer": answer, "model": model, "usage": used, "decision_id": message.decision_id}
        return Receipt(f"{self._settings.url}#{self._settings.model}", orjson.dumps(told), JSON, 200)

    def _call(self, question: str, message: Message) -> dict[str, Any]:
        settings = self._settings
        headers = {name: message.fields[name] for name in CARRIED if name in message.fields}
        return {
            "model": settings.model,
            "custom_llm_provider": settings.provider,
            "api_base": settings.url,
            "api_key": self._key,
            "messages": [{"role": "system", "content": settings.system}, {"role": "user", "content": question}],
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "stream": False,
            "timeout": message.within,
            "client": self._client,
            "num_retries": 0,
            "max_retries": 0,
            "extra_headers": headers | {KEY: scoped(message)},
            **self._form(),
        }

    def _form(self) -> dict[str, Any]:
        """Past litellm's own parameter, which would refuse or rewrite what small servers understand."""
        schema, wanted = self._settings.answer.json_schema, self._settings.answer.response_format
        if schema is None or wanted == "none":
            return {}
        if wanted == "json_object":
            return {"extra_body": {"response_format": {"type": "json_object", "schema": schema}}}
        return {
            "extra_body": {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}
        }

    async def _take(self, tallies: Tallies | None, day: int, subject: str, tokens: int) -> None:
        if self._budget is None:
            return
        budget = self._settings.budget
        try:
            if tallies is not None:
                taken = await tallies.take(self._tally(day), subject, tokens, budget.per_day, budget.per_subject, TALLY_S)
            else:
                taken = await asyncio.to_thread(self._budget.take, day, subject, tokens)
        except (sqlite3.Error, OSError, StateError) as error:
            raise failure("token_budget_unavailable", "how many tokens are left cannot be told") from error
        if not taken:
            left = (day + 1) * DAY_S - self._clock.now_ns() / 1e9
            raise failure("token_budget_spent", "the tokens for today are spent", wait=max(left, 0.0))

    async def _settle(self, tallies: Tallies | None, day: int, subject: str, taken: int, used: int) -> None:
        """Where it was taken: nothing of it was counted elsewhere. A server that counts nothing leaves the guess standing."""
        if self._budget is None or used == 0:
            return
        try:
            if tallies is not None:
                await tallies.add(self._tally(day), subject, used - taken)
            else:
                await asyncio.to_thread(self._budget.settle, day, subject, used - taken)
        except (sqlite3.Error, OSError, StateError):
            return  # the answer is there; the guess stands

    def _tally(self, day: int) -> str:
        return f"tokens\0{self._name}\0{day}"


def _translated(error: Exception) -> DestinationError:
    fault = fault_of(error)
    wait = pause_of(error) or None
    return failure(*FAULTS[fault], sent=fault in (Fault.LATE, Fault.UNAVAILABLE), wait=wait)


def _subject(message: Message) -> str:
    who = message.document["subject"]
    return "\0".join(str(who[name] or "") for name in ("tenant", "type", "id"))


def _usage(completion: Any) -> dict[str, int]:
    usage = getattr(completion, "usage", None)
    counts = {name: getattr(usage, name, 0) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count if isinstance(count, int) and count > 0 else 0 for name, count in counts.items()}
