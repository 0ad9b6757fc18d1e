"""A language model through litellm, which speaks to whatever server is configured. The only file that knows litellm.

A call is bounded by a deadline, a number of tokens, a budget a minute and a circuit. What failed is told by code and never by the
library's own words, which may hold the text or the key.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

# Before litellm is loaded: else it reads a `.env` file of the working directory into this process, and fetches a price list.
os.environ["LITELLM_MODE"] = "PRODUCTION"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# The library makes some of its types at the first call, and pydantic remarks on them where nobody can do anything about it.
warnings.filterwarnings("ignore", message="Item .* on TypedDict class", category=UserWarning)

import httpx
import litellm
import openai
from litellm.exceptions import RateLimitError, Timeout

from adapters.http_upstream.circuit import Circuit
from adapters.token_budget import TokenBudget
from router.config.judgement import LlmConfig
from router.errors import ClassifierError
from router.ports import ChatObserver, Clock, Completion

litellm.suppress_debug_info = True  # it would print advice to standard output
litellm.turn_off_message_logging = True

NO_KEY = "none"  # without any, litellm would take OPENAI_API_KEY and send it to a server that it is not for
BYTES_A_TOKEN = 3  # a careful guess before a call; what the server counted is told after it
LONGEST_PAUSE_S = 600.0
MOST_BYTES = 1 << 20  # of a response; a choice takes some hundred
OPENAI = "openai"
RAW = "x-stainless-raw-response"  # how the client knows what its caller wants to be given
SENT = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent", RAW}
ANSWERED = "answered"


class LitellmChat:
    """See `ports.Chat`. `tokens_per_minute` is this process's share."""

    def __init__(
        self, config: LlmConfig, api_key: str | None, *, tokens_per_minute: float, clock: Clock, observer: ChatObserver | None = None
    ) -> None:
        self._config = config
        self._api_key = api_key or NO_KEY
        self._clock = clock
        self._observer = observer
        self._client = _client(config, self._api_key)
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
        if isinstance(error, TimeoutError | Timeout):
            return self._refuse("the language model was late", "llm_late")
        if isinstance(error, RateLimitError):
            self._not_before = now + _pause(error)
            return self._refuse("the language model's server limits its callers", "llm_rate_limited")
        if getattr(error, "status_code", None) in (401, 403):  # litellm has no type of its own for every 403
            return self._refuse("the language model's server does not accept the key", "llm_unauthorized")
        return self._refuse("the language model's server gave no usable response", "llm_unavailable")

    def _refuse(self, message: str, code: str) -> ClassifierError:
        self._told(code, 0, 0)
        return ClassifierError(message, code)

    def _told(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        if self._observer is not None:
            self._observer.llm_called(result, prompt_tokens, completion_tokens)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


class _Bounded(httpx.AsyncByteStream):
    """A response's bytes, as long as there are not too many."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx.ReadError("the response is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx.Response) -> None:
    """Before the body is read. Packed, a small body could still become a large one."""
    if response.headers.get("content-encoding", "identity") != "identity" or not isinstance(response.stream, httpx.AsyncByteStream):
        raise httpx.DecodingError("the response is packed, which was not asked for")
    response.stream = _Bounded(response.stream)


def _own_headers(api_key: str) -> Callable[[httpx.Request], Awaitable[None]]:
    """Only what the protocol needs, and our key: the library adds what it finds of somebody's account in the environment."""

    async def own(request: httpx.Request) -> None:
        for name in set(request.headers) - SENT:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {api_key}"

    return own


def _client(config: LlmConfig, api_key: str) -> openai.AsyncOpenAI | None:
    """A client of our own for OpenAI's protocol: litellm's would follow a redirect with text and key, and read whatever comes. It keeps no
    idle connections, so that nothing has to be closed. None: litellm's own, which only the deadline bounds."""
    if config.provider != OPENAI:
        return None
    wire = httpx.AsyncClient(
        follow_redirects=False,
        headers={"accept-encoding": "identity"},
        limits=httpx.Limits(max_keepalive_connections=0),
        event_hooks={"request": [_own_headers(api_key)], "response": [_bound]},
        timeout=config.deadline,
    )
    return openai.AsyncOpenAI(api_key=api_key, base_url=config.url, http_client=wire, max_retries=0)


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


def _pause(error: Exception) -> float:
    """Seconds of Retry-After; a date there, or nonsense, counts as none: the circuit still counts the failure."""
    headers = getattr(error, "litellm_response_headers", None)
    wanted = headers.get("retry-after", "") if headers is not None else ""
    return min(float(wanted), LONGEST_PAUSE_S) if isinstance(wanted, str) and wanted.isdecimal() else 0.0
