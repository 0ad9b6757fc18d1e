"""Lockgate in this process, behind the same API and the same clients as a server."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from lockgate.client import AsyncClient, Client, Decision, Review
from lockgate.client.reading import read_decision
from lockgate.testing.control import Control
from lockgate.testing.doubles import Doubles

if TYPE_CHECKING:
    from router.wiring.in_process import InProcess

URL = "http://lockgate.in-process"
DECIDE = "/v1/decide"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A question as it was asked, and the decision about it."""

    question: Mapping[str, Any]
    decision: Decision


@dataclass
class Lockgate:
    """The workspace in a folder, opened by `with`. `client` and `sync_client` are clients like any other: give them to what is tested.
    `service` and `service_roles` are whom questions without a subject are about."""

    workspace: Path
    service: str = "service"
    service_roles: tuple[str, ...] = ()
    recorded: list[Recorded] = field(default_factory=list, init=False)
    doubles: Doubles = field(init=False)
    client: AsyncClient = field(init=False)
    sync_client: Client = field(init=False)
    _made: InProcess = field(init=False, repr=False)
    _portal: BlockingPortal = field(init=False, repr=False)
    _closing: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        self.doubles = Doubles(lambda answers: self._made.judge_by(answers))
        places = {"control_url": URL, "attempts": 1, "timeout": 60.0}
        self.client = AsyncClient(URL, transport=_Asynchronous(self), **places)  # type: ignore[arg-type]  # one value for each name
        self.sync_client = Client(URL, transport=_Synchronous(self), **places)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        """Trains the model first where the workspace has none. Raises what `lockgate check` says of the workspace."""
        from router.decision import Subject
        from router.doors.decide_api import create_app
        from router.wiring.in_process import in_process
        from router.workspace import parse, read

        workspace = parse(read(self.workspace, os.environ), os.environ)
        with ExitStack() as closing:
            self._portal = closing.enter_context(start_blocking_portal())
            opening: AbstractContextManager[InProcess] = self._portal.wrap_async_context_manager(in_process(workspace))
            self._made = closing.enter_context(opening)
            self._made.service = replace(self._made.service, id=self.service, roles=self.service_roles)
            self._control = Control(self._made.reviews)
            app = create_app(self._made.door, lambda: True, workspace.config.gateway.limits.body)
            self._decide = httpx2.ASGITransport(app, raise_app_exceptions=False)
            self._subject = Subject
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def decide(self, **asked: Any) -> Decision:
        """As `Client.decide`. Raises NoDecision."""
        return self.sync_client.decide(**asked)

    @property
    def decisions(self) -> list[Decision]:
        """All that were made, in order, by whoever asked."""
        return [each.decision for each in self.recorded]

    @property
    def evidence(self) -> list[Mapping[str, Any]]:
        """Events as they were sent, checked as the server checks them."""
        return self._control.events

    @property
    def leaves(self) -> list[Mapping[str, Any]]:
        """What the ledger would hold for ever: the public part of every record."""
        return [json.loads(entry.leaf) for entry in self._made.ledger.entries]

    def approve(self, decision: Decision | str, *, by: str = "reviewer", roles: tuple[str, ...] = ()) -> Review:
        """As a person who may would: raises what such a person would hear, such as that nobody approves their own."""
        return self._portal.call(self._judged, _id(decision), by, roles, True)

    def reject(self, decision: Decision | str, *, by: str = "reviewer", roles: tuple[str, ...] = ()) -> Review:
        return self._portal.call(self._judged, _id(decision), by, roles, False)

    def reset(self) -> None:
        """Nothing of the test before is left: neither what was recorded nor a test double."""
        self.doubles.clear()
        self.recorded.clear()
        self._control.events.clear()
        self._made.ledger.entries.clear()

    async def _judged(self, decision_id: str, by: str, roles: tuple[str, ...], approved: bool) -> Review:
        reviews, who = self._made.reviews, self._subject(by, "user", roles, (), None, {}, "api_key")
        if approved:
            shown = await reviews.get(decision_id) or {}
            await reviews.approve(decision_id, who, "", str(shown.get("content_digest", "")))
        else:
            await reviews.reject(decision_id, who, "")
        found = await reviews.get(decision_id) or {}
        return Review(found["id"], str(found["state"]), found["expires"], found["approvals"], found["quorum"])

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        """In the portal's loop, whichever loop or thread asked."""
        self.doubles.reach(request)
        if request.url.path != DECIDE:
            told = await self._control.answer(request)
            return _response(told.status_code, told.headers, told.content)
        answer = await self._decide.handle_async_request(request)
        body = await answer.aread()
        if answer.status_code == 200:
            self.recorded.append(Recorded(json.loads(request.content), read_decision(body)))
        return _response(answer.status_code, answer.headers, body)


class _Synchronous(httpx2.BaseTransport):
    def __init__(self, lockgate: Lockgate) -> None:
        self._lockgate = lockgate

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return self._lockgate._portal.call(self._lockgate._answered, request)


class _Asynchronous(httpx2.AsyncBaseTransport):
    def __init__(self, lockgate: Lockgate) -> None:
        self._lockgate = lockgate

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return await to_thread.run_sync(self._lockgate._portal.call, self._lockgate._answered, request)


def _response(status: int, headers: httpx2.Headers, body: bytes) -> httpx2.Response:
    """As one from a connection, which is read by whoever asked."""
    return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(body))


def _id(decision: Decision | str) -> str:
    return decision if isinstance(decision, str) else decision.id
