"""Sends one message, and looks at the task that comes of it until it has ended."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import orjson
from a2a.client import A2ACardResolver
from a2a.client.client import ClientCallContext
from a2a.client.errors import A2AClientTimeoutError, AgentCardResolutionError
from a2a.types import CancelTaskRequest, GetTaskRequest, SendMessageRequest, Task, TaskState
from a2a.types import Message as AgentMessage
from a2a.utils.errors import A2AError, InternalError, InvalidAgentResponseError
from google.protobuf import json_format

from adapters.a2a_agent.card import Agent, agent
from adapters.a2a_agent.config import Config
from adapters.bounded_httpx import bounded_response, named
from adapters.http_upstream.tls import context
from adapters.messaging.destination import PASSING, Receipt, failure
from adapters.messaging.document import DECISION_ID, JSON
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.messaging.statuses import refused_by
from router.errors import ConfigError, DestinationError
from router.ports import Clock

NANO = 1e-9
FIRST_PAUSE_S = 0.05
CANCEL_S = 3.0
MOST_EXACT = 2**53
CARRIED = (DECISION_ID, "traceparent", "tracestate")
ENDED = {
    TaskState.TASK_STATE_FAILED: "failed",
    TaskState.TASK_STATE_CANCELED: "was cancelled",
    TaskState.TASK_STATE_REJECTED: "was rejected",
}
ASKING = {TaskState.TASK_STATE_INPUT_REQUIRED: "asks for more", TaskState.TASK_STATE_AUTH_REQUIRED: "asks for a credential"}


class A2aPeer:
    def __init__(self, settings: Config, clock: Clock, root: Path) -> None:
        self.repeatable = settings.deduplicates
        self._settings, self._clock, self._root = settings, clock, root
        self._agent: Agent | None = None
        self._http: httpx.AsyncClient | None = None
        self._cancelling: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        settings, tls = self._settings, self._settings.tls
        secure = context(*(None if each is None else str(self._root / each) for each in (tls.ca, tls.certificate, tls.key)))
        headers = {name: _value(name, secret.reveal(self._root)) for name, secret in settings.headers.items()}
        self._http = httpx.AsyncClient(
            verify=secure,
            trust_env=False,
            follow_redirects=False,
            headers={"user-agent": "lockgate", "accept-encoding": "identity"} | headers,
            timeout=httpx.Timeout(None, connect=settings.connect),
            event_hooks={"request": [named(tls.server_name)], "response": [bounded_response(settings.most_answer)]},
        )

    async def close(self) -> None:
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=CANCEL_S)
        http, self._http, self._agent = self._http, None, None
        if http is not None:
            await http.aclose()

    async def ping(self) -> None:
        """Reads the card anew."""
        self._agent = None
        await self._known()

    async def deliver(self, message: Message) -> Receipt:
        request, asking = self._request(message), _asking(message)
        known = await self._known()
        answer = await self._sent(known, request, asking)
        if isinstance(answer, AgentMessage):
            return self._receipt(None, _parts(answer.parts))
        try:
            ended = await self._ended(known, answer, asking)
        except BaseException:
            self._let_go(known, answer.id, asking)
            raise
        return self._completed(ended)

    async def _known(self) -> Agent:
        if self._http is None:
            raise failure("destination_closed", "the destination is not open")
        known = self._agent
        if known is not None and self._now() - known.since < self._settings.recheck:
            return known
        try:
            card = await A2ACardResolver(self._http, self._settings.url, self._settings.card).get_agent_card()
        except Exception as error:  # noqa: BLE001  # the library raises what it likes
            raise self._translated(error, sent=False) from None
        self._agent = agent(card, self._settings.url, self._settings.skill, self._http, self._now())
        return self._agent

    async def _sent(self, known: Agent, request: SendMessageRequest, asking: ClientCallContext) -> AgentMessage | Task:
        try:
            async for event in known.client.send_message(request, context=asking):
                return event.message if event.HasField("message") else event.task
        except Exception as error:  # noqa: BLE001  # as above
            raise self._translated(error, sent=True) from None
        raise failure("upstream_protocol", "the agent's answer is neither a message nor a task", sent=True)

    async def _ended(self, known: Agent, task: Task, asking: ClientCallContext) -> Task:
        """Looks again for as long as there is time: who is away for a moment may know of the task afterwards."""
        pause = FIRST_PAUSE_S
        while task.status.state in (TaskState.TASK_STATE_UNSPECIFIED, TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING):
            await asyncio.sleep(pause)
            pause = min(self._settings.poll, pause * 2)
            try:
                task = await known.client.get_task(GetTaskRequest(id=task.id, history_length=0), context=asking)
            except Exception as error:  # noqa: BLE001  # as above
                ours = self._translated(error, sent=True)
                if ours.code not in PASSING:
                    raise ours from None
        return task

    def _completed(self, task: Task) -> Receipt:
        state = task.status.state
        if state == TaskState.TASK_STATE_COMPLETED:
            parts = [part for artifact in task.artifacts for part in _parts(artifact.parts)]
            return self._receipt(task.id, parts or _parts(task.status.message.parts))
        made = failure(
            "upstream_refused", f"the agent's task {ENDED.get(state) or ASKING.get(state) or 'has a state that is not known'}", sent=True
        )
        made.final = state != TaskState.TASK_STATE_FAILED and state != TaskState.TASK_STATE_CANCELED
        raise made

    def _let_go(self, known: Agent, task_id: str, asking: ClientCallContext) -> None:
        """Nobody waits for the task any more: the agent is told, if it listens."""

        async def cancel() -> None:
            try:
                async with asyncio.timeout(CANCEL_S):
                    await known.client.cancel_task(CancelTaskRequest(id=task_id), context=asking)
            except Exception:  # noqa: BLE001  # it goes on, then
                return

        telling = asyncio.create_task(cancel())
        self._cancelling.add(telling)
        telling.add_done_callback(self._cancelling.discard)

    def _request(self, message: Message) -> SendMessageRequest:
        metadata = {"lockgate/decision-id": message.decision_id} | {
            name: message.fields[name] for name in CARRIED[1:] if name in message.fields
        }
        asked = {"messageId": scoped(message), "role": "ROLE_USER", "parts": self._mapped(message), "metadata": metadata}
        try:
            made: SendMessageRequest = json_format.ParseDict({"message": asked}, SendMessageRequest())
        except (json_format.ParseError, RecursionError, TypeError):
            raise unmapped("the request makes no message of A2A") from None
        return made

    def _mapped(self, message: Message) -> list[dict[str, Any]]:
        if not self._settings.parts:
            return [_part(_content(message))]
        parts = []
        for each in self._settings.parts:
            value = message.value(each.data if each.text is None else each.text)
            parts.append(
                {"data": value} if each.text is None else {"text": value if isinstance(value, str) else orjson.dumps(value).decode()}
            )
        return parts

    def _receipt(self, task: str | None, parts: list[Any]) -> Receipt:
        return Receipt(self._settings.url, orjson.dumps({"task": task, "parts": parts}), JSON, 200)

    def _translated(self, error: Exception, *, sent: bool) -> DestinationError:
        """The only place where the libraries' errors become ours. What the agent wrote is left out."""
        made = self._of_the_wire(error, sent)
        if made is not None:
            return made
        if isinstance(error, A2AClientTimeoutError):
            return failure("upstream_timeout", "the agent did not answer in time", sent=sent)
        if isinstance(error, InternalError):
            return failure("upstream_unavailable", "the agent answered with an internal error", sent=sent)
        if (
            isinstance(error, AgentCardResolutionError | InvalidAgentResponseError)
            or not isinstance(error, A2AError)
            or type(error) is A2AError
        ):
            return failure("upstream_protocol", "the agent's answer, or its card, is none of A2A", sent=sent)
        return failure("upstream_refused", f"the agent refuses the message ({type(error).__name__})", sent=sent)

    def _of_the_wire(self, error: BaseException, sent: bool) -> DestinationError | None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, httpx.HTTPStatusError):
                retry_after = cause.response.headers.get("retry-after", "")
                made = refused_by(cause.response.status_code, retry_after, self._clock.now_ns() * NANO, "the agent")
                made.sent = made.sent and sent
                return made
            if isinstance(cause, httpx.TransportError):
                return _of_transport(cause, sent)
            if isinstance(cause, httpx.DecodingError):
                return failure("upstream_protocol", "the agent's answer is packed", sent=sent)
            cause = cause.__cause__ or cause.__context__
        return None

    def _now(self) -> float:
        return self._clock.monotonic_ns() * NANO


def _of_transport(error: httpx.TransportError, sent: bool) -> DestinationError:
    if isinstance(error, httpx.ConnectTimeout):
        return failure("connect_timeout", "the agent did not accept a connection in time")
    if isinstance(error, httpx.ConnectError):
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        return failure("connect_failed" if cause is None else "tls_failed", "no connection to the agent could be made")
    if "too large" in str(error):  # of bounded_response
        return failure("upstream_protocol", "the agent's answer is too long", sent=sent)
    return failure("upstream_reset", "the connection with the agent broke off", sent=sent)


def _asking(message: Message) -> ClientCallContext:
    fields = {name: message.fields[name] for name in CARRIED if name in message.fields}
    return ClientCallContext(service_parameters=fields)


def _content(message: Message) -> Any:
    kind = message.content_type.partition(";")[0].strip().lower()
    try:
        value = orjson.loads(message.content) if kind == JSON or kind.endswith("+json") else message.content.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        raise unmapped("an agent takes words or JSON, and the request's body is neither") from None
    if value is None or value == "":
        raise unmapped("the request says nothing: its body is empty")
    return value


def _part(value: Any) -> dict[str, Any]:
    return {"text": value} if isinstance(value, str) else {"data": _exact(value)}


def _exact(value: Any) -> Any:
    """A2A's numbers are floating point: an integer that would become another one does not go out."""
    if isinstance(value, dict):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, int) and abs(value) > MOST_EXACT:
        raise unmapped("the request has a number that A2A would change: send it as text")
    return value


def _whole(value: Any) -> Any:
    """Integers as they were before they went through A2A."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MOST_EXACT else value


def _parts(parts: Any) -> list[Any]:
    return [_whole(json_format.MessageToDict(part)) for part in parts]


def _value(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ConfigError(f"the header field {name} must be printable ASCII")
    return text
