"""The client for services without an event loop. One may be used by many threads."""

from __future__ import annotations

import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx2

from lockgate.client import flows
from lockgate.client.asking import NO_BODY, Question, Subject
from lockgate.client.calls import MOST_BYTES, Attempt, Came, Failure, Flow, Pause, T
from lockgate.client.connection import LIMITS, USER_AGENT, Credential, Path, Settings, answer, failure, too_large
from lockgate.client.evidence import Event, Receipt, about
from lockgate.client.tracing import traceparent as current
from lockgate.client.values import Decision, Review, ReviewQuestion


class Client:
    """`transport` is for tests, and for who brings connections of his own. Raises ValueError for a URL that is none, OSError for files of
    certificates that cannot be read. What the parameters mean: `lockgate.client.connection.Settings`."""

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
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.settings = Settings(
            url, api_key, control_url, control_key, ca, certificate, timeout, attempts, pause, gateway_url, gateway_key
        )
        self._places = self.settings.places
        self._http = httpx2.Client(
            verify=self.settings.tls(),
            trust_env=False,  # what is decided about goes to the server that was named, and to no proxy
            limits=LIMITS,
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def decide(
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
        return self.ask(Question(text, body, subject, method, path, query, host, headers or {}, client, idempotency_key, traceparent, hold))

    def ask(self, question: Question) -> Decision:
        """As `decide`."""
        if question.traceparent is None:
            question = replace(question, traceparent=current())
        return self._run(flows.deciding(self._places, question, self.settings.patience))

    def require(self, *, fulfils: Collection[str] = (), **asked: Any) -> Decision:
        """A decision to go ahead; anything else is raised: NoDecision, Denied, Held, Abstained, Unfulfilled. Takes what `decide` takes."""
        return self.decide(**asked).enforce(fulfils)

    def review(self, decision: Decision | str) -> Review:
        """Where a held request stands now. Raises ReviewUnavailable."""
        return self._run(flows.looking(self._places, _id(decision), self.settings.patience))

    def wait(self, decision: Decision | str, *, timeout: float, every: float = 1.0) -> Review:
        """Returns once people have approved it. Raises ReviewEnded, ReviewPending when the time is over, ReviewUnavailable."""
        return self._run(flows.waiting(self._places, _id(decision), self.settings.patience, timeout, every))

    def question(self, decision: Decision | str) -> ReviewQuestion | None:
        """What a reviewer asks who called through the gateway or, without a `gateway_url`, this service, which had it held; if anything.
        Raises ReviewUnavailable."""
        return self._run(flows.questioning(self._places, _id(decision), self.settings.patience))

    def answer(self, decision: Decision | str, text: str, question: ReviewQuestion, *, idempotency_key: str | None = None) -> Review:
        """On record when it returns; said again, also later, it counts once. Raises AnswerRefused; ReviewUnavailable where nobody knows."""
        return self._run(flows.answering(self._places, _id(decision), text, question, idempotency_key, self.settings.patience))

    def report(
        self, decision: Decision | str, *, source: str, kind: str, phase: str = "completed", event_id: str | None = None, data: Any = None
    ) -> Receipt:
        """Records what was done under a decision, as an event of that `kind`. Durable when it returns; said again it is recorded once.
        Raises EvidenceRefused, EvidenceUnavailable."""
        return self.send([about(_id(decision), source, phase, kind, event_id, data)])[0]

    def send(self, events: Sequence[Event]) -> tuple[Receipt, ...]:
        """All of them or none. Raises as `report`."""
        return self._run(flows.reporting(self._places, events, self.settings.patience))

    def _run(self, flow: Flow[T]) -> T:
        came: Came | None = None
        try:
            while True:
                step = flow.send(came)
                came = None
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    came = self._attempt(step)
        except StopIteration as done:
            result: T = done.value
            return result

    def _attempt(self, attempt: Attempt) -> Came:
        deadline = time.monotonic() + attempt.seconds
        call, headers = attempt.call, self.settings.headers(attempt)
        if isinstance(headers, Failure):
            return headers
        body = bytearray()
        try:
            with self._http.stream(call.method, call.url, content=call.body, headers=headers, timeout=attempt.seconds) as response:
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        return too_large()
                    if time.monotonic() > deadline:  # one that answers byte by byte is never idle
                        return failure(TimeoutError())
                return answer(response, bytes(body))
        except (httpx2.RequestError, OSError) as error:
            return failure(error)


def _id(decision: Decision | str) -> str:
    return decision if isinstance(decision, str) else decision.id
