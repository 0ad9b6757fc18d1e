"""The client for services with an event loop of asyncio."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2

from lockgate.client import flows
from lockgate.client.asking import NO_BODY, Question, Subject
from lockgate.client.calls import MOST_BYTES, Attempt, Came, Failure, Flow, Pause, T
from lockgate.client.connection import LIMITS, USER_AGENT, Credential, Path, Settings, answer, failure, too_large
from lockgate.client.evidence import Event, Receipt, about
from lockgate.client.synchronous import _id
from lockgate.client.tracing import traceparent as current
from lockgate.client.values import Decision, Review, ReviewQuestion


class AsyncClient:
    """As `Client`. It belongs to the event loop in which it is first used."""

    def __init__(
        self,
        url: str,
        *,
        api_key: Credential | None = None,
        control_url: str | None = None,
        control_key: Credential | None = None,
        ca: Path | ssl.SSLContext | None = None,
        certificate: tuple[Path, Path] | None = None,
        timeout: float = 2.0,
        attempts: int = 3,
        pause: float = 0.05,
        gateway_url: str | None = None,
        gateway_key: Credential | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = Settings(
            url, api_key, control_url, control_key, ca, certificate, timeout, attempts, pause, gateway_url, gateway_key
        )
        self._places = self.settings.places
        self._http = httpx2.AsyncClient(
            verify=self.settings.tls(),
            trust_env=False,  # as in Client
            limits=LIMITS,
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def decide(
        self,
        *,
        text: str | None = None,
        body: Any = NO_BODY,
        subject: Subject | None = None,
        method: str = "POST",
        path: str = "/",
        query: str = "",
        host: str = "",
        headers: Mapping[str, str] | None = None,
        client: str = "",
        idempotency_key: str | None = None,
        traceparent: str | None = None,
        hold: bool = False,
    ) -> Decision:
        """The decision, whatever it is: look at `allowed`, or `enforce` it. Raises NoDecision."""
        return await self.ask(
            Question(text, body, subject, method, path, query, host, headers or {}, client, idempotency_key, traceparent, hold)
        )

    async def ask(self, question: Question) -> Decision:
        """As `decide`."""
        if question.traceparent is None:
            question = replace(question, traceparent=current())
        return await self._run(flows.deciding(self._places, question, self.settings.patience))

    async def require(self, *, fulfils: Collection[str] = (), **asked: Any) -> Decision:
        """A decision to go ahead; anything else is raised: NoDecision, Denied, Held, Abstained, Unfulfilled. Takes what `decide` takes."""
        return (await self.decide(**asked)).enforce(fulfils)

    async def review(self, decision: Decision | str) -> Review:
        """Where a held request stands now. Raises ReviewUnavailable."""
        return await self._run(flows.looking(self._places, _id(decision), self.settings.patience))

    async def wait(self, decision: Decision | str, *, timeout: float, every: float = 1.0) -> Review:
        """Returns once people have approved it. Raises ReviewEnded, ReviewPending when the time is over, ReviewUnavailable."""
        return await self._run(flows.waiting(self._places, _id(decision), self.settings.patience, timeout, every))

    async def question(self, decision: Decision | str) -> ReviewQuestion | None:
        """What a reviewer asks who called through the gateway or, without a `gateway_url`, this service, which had it held; if anything.
        Raises ReviewUnavailable."""
        return await self._run(flows.questioning(self._places, _id(decision), self.settings.patience))

    async def answer(self, decision: Decision | str, text: str, question: ReviewQuestion, *, idempotency_key: str | None = None) -> Review:
        """On record when it returns; said again, also later, it counts once. Raises AnswerRefused; ReviewUnavailable where nobody knows."""
        return await self._run(flows.answering(self._places, _id(decision), text, question, idempotency_key, self.settings.patience))

    async def report(
        self, decision: Decision | str, *, source: str, kind: str, phase: str = "completed", event_id: str | None = None, data: Any = None
    ) -> Receipt:
        """Records what was done under a decision, as an event of that `kind`. Durable when it returns; said again it is recorded once.
        Raises EvidenceRefused, EvidenceUnavailable."""
        return (await self.send([about(_id(decision), source, phase, kind, event_id, data)]))[0]

    async def send(self, events: Sequence[Event]) -> tuple[Receipt, ...]:
        """All of them or none. Raises as `report`."""
        return await self._run(flows.reporting(self._places, events, self.settings.patience))

    async def _run(self, flow: Flow[T]) -> T:
        came: Came | None = None
        try:
            while True:
                step = flow.send(came)
                came = None
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                else:
                    came = await self._attempt(step)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _attempt(self, attempt: Attempt) -> Came:
        call, headers = attempt.call, self.settings.headers(attempt)
        if isinstance(headers, Failure):
            return headers
        body = bytearray()
        try:
            with anyio.fail_after(attempt.seconds):
                async with self._http.stream(
                    call.method, call.url, content=call.body, headers=headers, timeout=attempt.seconds
                ) as response:
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > MOST_BYTES:
                            return too_large()
                    return answer(response, bytes(body))
        except (httpx2.RequestError, OSError) as error:
            return failure(error)
