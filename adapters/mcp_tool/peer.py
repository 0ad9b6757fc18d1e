"""One session for each message: so nothing that a server keeps of one caller is there for the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import orjson
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, CallToolResult, Implementation
from pydantic import ValidationError

from adapters.http_upstream.tls import context
from adapters.json_schema import misfit
from adapters.mcp_tool.config import Config
from adapters.mcp_tool.tools import Definition, definition
from adapters.mcp_tool.wire import CALL, Call, Wire
from adapters.messaging.destination import Receipt, failure
from adapters.messaging.document import DECISION_ID, JSON
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.messaging.statuses import refused_by
from router.errors import ConfigError, DestinationError
from router.ports import Clock

T = TypeVar("T")
NANO = 1e-9
REFUSED = (INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND)
CARRIED = ("traceparent", "tracestate")
MOST_PAGES = 20
KEY = "lockgate/idempotency-key"
PING_S = 5.0
CLIENT = Implementation(name="lockgate", version="1")


class McpPeer:
    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self.repeatable = settings.deduplicates
        self._settings, self._clock, self._root = settings, clock, root
        self._known: Definition | None = None
        self._http: httpx2.AsyncClient | None = None

    async def open(self) -> None:
        tls = self._settings.tls
        secure = context(*(None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key)))
        headers = {name: _value(name, secret.reveal(self._root)) for name, secret in self._settings.headers.items()}
        self._http = httpx2.AsyncClient(
            transport=Wire(secure, self._settings.most_answer, self._settings.tls.server_name),
            headers={"user-agent": "lockgate"} | headers,
            timeout=httpx2.Timeout(None, connect=self._settings.connect),
            trust_env=False,
        )

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def ping(self) -> None:
        """Looks at the tool anew: whether it is there, is as it was, and takes what the mapping makes."""

        async def look(client: Client, _: Call) -> None:
            self._fitting(await self._looked_up(client))

        await self._within(Call(), look, PING_S)

    async def deliver(self, message: Message) -> Receipt:
        arguments = message.json()
        if not isinstance(arguments, dict):
            raise unmapped("a tool takes an object, and the request's body or input mapping is none")
        fields = {name: message.fields[name] for name in (DECISION_ID, *CARRIED) if name in message.fields}
        meta: dict[str, Any] = {name: fields[name] for name in CARRIED if name in fields}
        meta |= {"lockgate/decision-id": message.decision_id, KEY: scoped(message)}

        async def ask(client: Client, call: Call) -> Receipt:
            known = self._fitting(self._fresh() or await self._looked_up(client))
            fault = known.unfit(arguments)
            if fault is not None:
                raise unmapped(f"the arguments do not fit the tool: {fault}")
            call.sent = True
            made: Any = meta
            return self._answer(await client.call_tool(self._settings.tool, arguments, meta=made), known)

        return await self._within(Call(fields), ask, message.within)

    async def _within(self, call: Call, use: Callable[[Client, Call], Awaitable[T]], seconds: float) -> T:
        """Whatever the libraries raise, and however deep in groups, becomes one of our codes."""
        token = CALL.set(call)
        try:
            async with self._session(seconds) as client:
                return await use(client, call)
        except DestinationError:
            raise
        except Exception as error:  # noqa: BLE001  # the library raises what it likes
            ours = _ours(error)
            raise ours or self._translated(error, call) from None
        finally:
            CALL.reset(token)

    @asynccontextmanager
    async def _session(self, seconds: float) -> AsyncIterator[Client]:
        if self._http is None:
            raise failure("destination_closed", "the destination is not open")
        transport = streamable_http_client(self._settings.url, http_client=self._http)
        async with Client(transport, mode=self._settings.protocol, read_timeout_seconds=seconds, client_info=CLIENT, cache=None) as client:
            yield client

    def _fresh(self) -> Definition | None:
        known = self._known
        return known if known is not None and self._now() - known.since < self._settings.recheck else None

    async def _looked_up(self, client: Client) -> Definition:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if tool.name == self._settings.tool:
                    self._known = definition(tool.model_dump(mode="json", by_alias=True, exclude_none=True), self._now())
                    return self._known
            cursor = page.next_cursor
            if cursor is None:
                break
        self._known = None
        raise _changed(f"the server has no tool '{self._settings.tool}'")

    def _fitting(self, known: Definition) -> Definition:
        """Raises DestinationError."""
        wanted = self._settings.definition
        if wanted is not None and wanted != known.digest:
            raise _changed(f"the tool's definition is another than was looked at: it is {known.digest}")
        problem = known.problem(None if self._settings.input is None else self._settings.input.source)
        if problem is not None:
            raise _changed(problem)
        return known

    def _answer(self, result: CallToolResult, known: Definition) -> Receipt:
        place = f"{self._settings.url}#{self._settings.tool}"
        if result.is_error:
            raise failure("upstream_refused", "the tool answered with an error", sent=True)
        if result.structured_content is not None:
            fault = misfit(known.gives, result.structured_content) if known.gives is not None else None
            if fault is not None:
                raise _ran(f"the tool's answer does not fit its own schema: {fault}")
            return Receipt(place, orjson.dumps(result.structured_content), JSON, 200)
        if known.gives is not None:
            raise _ran("the tool's answer lacks the structure that its schema promises")
        content = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content]
        return Receipt(place, orjson.dumps({"content": content}), JSON, 200)

    def _translated(self, error: Exception, call: Call) -> DestinationError:
        """What happened on the wire is known best there; then what the protocol says."""
        if call.failed is not None:
            return call.failed
        if call.status >= 300:
            made = refused_by(call.status, call.retry_after, self._clock.now_ns() * NANO, "the server")
            made.sent = made.sent and call.sent
            return made
        said = _first(error, MCPError)
        if isinstance(said, MCPError):
            if said.code in REFUSED:
                return failure("upstream_refused", f"the server answered with the error {said.code}", sent=call.sent)
            return failure("upstream_unavailable", f"the server answered with the error {said.code}", sent=call.sent)
        if _first(error, ValidationError) is not None:
            return failure("upstream_protocol", "the server's answer is none of MCP", sent=call.sent)
        return failure("upstream_protocol", f"the session with the server broke ({type(error).__name__})", sent=call.sent)

    def _now(self) -> float:
        return self._clock.monotonic_ns() * NANO


def _changed(sentence: str) -> DestinationError:
    """Not final: it is the server's or the configuration's to change, and the request may be sent then."""
    made = failure("upstream_refused", sentence)
    made.final = False
    return made


def _ran(sentence: str) -> DestinationError:
    """It was called and has answered: what it was to do may be done."""
    made = failure("answer_refused", sentence, sent=True)
    made.untold = True
    return made


def _first(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    if isinstance(error, kind):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((found for each in inner if (found := _first(each, kind)) is not None), None)


def _ours(error: Exception) -> DestinationError | None:
    """What was raised within a session comes out of it in a group."""
    found = _first(error, DestinationError)
    return found if isinstance(found, DestinationError) else None


def _value(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ConfigError(f"the header field {name} must be printable ASCII")
    return text
