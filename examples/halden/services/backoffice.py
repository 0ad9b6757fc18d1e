"""Halden's back office, which carries through what takes several steps: `python -m examples.halden.services.backoffice --port 9104`.

It takes a request when all is done, or refused by a service for good; a step that fails for now is a 503, and whoever sent the request
sends it again under the same key. What was done under a key is not done again. How it ended is told to Lockgate (`HALDEN_EVIDENCE_URL`).
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.halden.company.flows import FLOWS, Flow
from examples.halden.company.steps import TIMEOUT_S, HttpServices, Services, Task, UnavailableError
from examples.halden.services.common import Answer, RefusedError, Tally, application, run, subject_of

NAME = "backoffice"
Tell = Callable[[Answer], None]


class BackOffice:
    """`done` has each step's answer by the request's key, its number and its name; `notices` what came that needs nothing done."""

    def __init__(self, services: Services, tell: Tell) -> None:
        self._services = services
        self._tell = tell
        self.tally = Tally()
        self.done: dict[tuple[str, int, str], Answer] = {}
        self.notices: list[Answer] = []

    async def carry_through(self, name: str, flow: Flow, task: Task, key: str) -> Answer:
        number = 0

        async def step(function: Callable[..., Answer], *given: Any) -> Answer:
            nonlocal number
            number += 1
            place = (key, number, function.__name__)
            if place not in self.done:
                self.done[place] = await asyncio.to_thread(function, self._services, *given)
            return self.done[place]

        try:
            ended = {"done": True, **await flow(task, step)}
        except RefusedError as error:
            ended = {"done": False, "why": error.message}
        await asyncio.to_thread(self._tell, _evidence(name, task, key, ended))
        self.tally.ran(name, changed=bool(ended["done"]))
        return ended


def _evidence(name: str, task: Task, key: str, ended: Answer) -> Answer:
    phase = "completed" if ended["done"] else "failed"
    named = {"specversion": "1.0", "id": key, "source": NAME, "type": f"example.halden.{name}.{phase}"}
    return {**named, "lockgatedecision": task.decision, "lockgatephase": phase, "data": ended}


def tell_lockgate(event: Answer) -> None:
    """Raises UnavailableError: what nobody heard of is told once more, when the request comes again."""
    url, key = os.environ.get("HALDEN_EVIDENCE_URL"), os.environ.get("HALDEN_EVIDENCE_KEY", "")
    if url is None:
        return
    headers = {"authorization": key, "content-type": "application/cloudevents+json"}
    request = urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")  # noqa: S310  # an address of the configuration
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310  # as above
    except OSError as error:
        raise UnavailableError(f"Lockgate did not take the evidence: {error}") from None


def build(services: Services | None = None, tell: Tell = tell_lockgate) -> Starlette:
    """Halden's back office, with fresh state."""
    office = BackOffice(services or HttpServices(), tell)

    def taking(name: str, flow: Flow) -> Callable[[Request], Any]:
        async def take(request: Request) -> Response:
            task, key = await _task(request)
            try:
                return JSONResponse(await office.carry_through(name, flow, task, key))
            except UnavailableError as error:
                raise RefusedError(503, str(error), {"retry-after": "1"}) from None

        return take

    async def notice(request: Request) -> Response:
        task, key = await _task(request)
        if key not in {each["key"] for each in office.notices}:
            office.notices.append({"key": key, "decision": task.decision, "data": task.data})
        return JSONResponse({"noted": len(office.notices)})

    async def notices(request: Request) -> Response:
        return JSONResponse({"notices": office.notices})

    routes = [Route("/" + name.replace("_", "-"), taking(name, flow), methods=["POST"]) for name, flow in FLOWS.items()]
    routes += [Route("/notices", notice, methods=["POST"]), Route("/notices", notices)]
    return application(NAME, routes, {}, office.tally)


async def _task(request: Request) -> tuple[Task, str]:
    decision = request.headers.get("x-lockgate-decision-id", "")
    text = (await request.body()).decode("utf-8", "replace")
    data = {}
    if "json" in request.headers.get("content-type", ""):
        try:
            found = json.loads(text)
        except ValueError:
            raise RefusedError(400, "the body is not valid JSON") from None
        data = found if isinstance(found, dict) else {}
        text = str(data.get("message", ""))
    return Task(decision, subject_of(request), text, data), request.headers.get("idempotency-key") or decision


if __name__ == "__main__":
    run(build, 9104)
