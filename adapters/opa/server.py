"""Rego in an OPA server, beside us or remote, over its REST API. Whatever is no answer is a PolicyError, and so a deny.

An evaluation is bounded by the policy's deadline. A server that failed too often is left alone for a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import orjson

from adapters.http_upstream.circuit import Circuit
from adapters.opa.asking import Answer, Asking
from adapters.opa.connection import Connection
from adapters.opa.held import Held
from adapters.rego.result import check_codes, package_names, parse_result
from router.config.opa import OpaEngine
from router.decision import Verdict
from router.errors import ConfigError, PolicyError
from router.ports import Clock, Intents, PolicyObserver
from router.verdicts import stricter

Found = TypeVar("Found")

log = logging.getLogger("lockgate.policy")
NAME = "opa"
ENTRIES: Mapping[str, str] = {entry: f"/v1/data/lockgate/{entry}/result" for entry in ("admission", "decision", "review")}
ADOPTED: Mapping[str, str] = {"admission": "/v1/data/lockgate/adopted_admission/result", "decision": "/v1/data/lockgate/adopted/result"}
START_S, START_PAUSE_S = 10.0, 0.2  # a sidecar may start after us
LOOK_S = 5.0
PATIENT = 0.9  # of the deadline, so that a server which is away is called that and not late
STALE = 6  # times `refresh`
ANSWERED = "answered"
# Failures of the server rather than of a policy: they count for the circuit.
OF_THE_SERVER = frozenset(("policy_unavailable", "policy_unauthorized", "policy_late"))


class OpaServer:
    """See `ports.PolicyEngine`. One event loop. `problem` is a code while the server is unhealthy."""

    waits = False  # it holds itself to its deadline, so that lateness counts for the circuit

    def __init__(self, settings: OpaEngine, root: Path, *, deadline_s: float, clock: Clock, observer: PolicyObserver | None = None) -> None:
        token = settings.token
        self._connection = Connection(settings, root, lambda: token.reveal(root) if token is not None else None)
        self._asking = Asking(self._connection, deadline_s * PATIENT)
        self._deadline_s = deadline_s
        self._refresh_s = settings.refresh
        self._clock = clock
        self._observer = observer
        self._circuit = Circuit(settings.failures, settings.open_for)
        self._held: Held | None = None
        self._looked_s = 0.0
        self._looking: asyncio.Task[Held] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.problem: str | None = None

    @property
    def digest(self) -> str:
        return self._held.digest if self._held is not None else ""

    async def open(self) -> None:
        """Raises ConfigError with one sentence where the server is away, or does not say what it holds."""
        try:
            await self._first_look()
        except PolicyError as error:
            await self.close()
            raise ConfigError(str(error)) from None
        self._keeping = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        for task in (self._keeping, self._looking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, PolicyError):
                    await task
        await self._connection.close()

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        path = ENTRIES.get(entry)
        if path is None:
            raise PolicyError(f"Policy has no entry point '{entry[:64]}'.", "policy_undefined")
        try:
            body = orjson.dumps({"input": document})
        except TypeError:
            raise PolicyError("The policy input cannot be written as JSON.", "policy_error") from None
        try:
            verdict = await self._bounded(entry, path, package_names(intent, entry), body)
        except PolicyError as error:
            self._tell(error.code)
            raise
        self._tell(ANSWERED)
        return verdict

    async def _bounded(self, entry: str, path: str, packages: tuple[str, ...], body: bytes) -> Verdict:
        """The circuit's view of one evaluation: a policy's own error is an answer of a server that works."""
        if not self._circuit.allows(self._now()):
            raise PolicyError(f"{self._connection.server} failed too often just now.", "policy_circuit_open")
        self._circuit.enter()
        try:
            async with asyncio.timeout(self._deadline_s):
                verdict = await self._judged(entry, path, packages, body)
        except TimeoutError:
            self._circuit.failed(self._now())
            raise PolicyError("Policy took longer than its deadline.", "policy_late") from None
        except PolicyError as error:
            if error.code in OF_THE_SERVER:
                self._circuit.failed(self._now())
            else:
                self._circuit.succeeded()
            raise
        except BaseException:  # the caller went away, or something that nobody foresaw: another may probe
            self._circuit.abandoned()
            raise
        self._circuit.succeeded()
        return verdict

    async def _judged(self, entry: str, path: str, packages: tuple[str, ...], body: bytes) -> Verdict:
        """Under one state of the server: where bundles changed meanwhile, it is looked at again and asked again, for the intent may have
        got a package, and the digest must name what decided."""
        found = await self._known()
        for _ in range(2):
            paths = [path, *(f"/v1/data/lockgate/intents/{name}/result" for name in packages if name in found.intents)]
            if entry in found.adopted:
                paths.append(ADOPTED[entry])
            answers = await _all([self._asking.evaluated(each, body) for each in paths])
            if all(answer.bundles == found.bundles for answer in answers):
                return reduce(stricter, [_verdict(answer, entry, found) for answer in answers])
            found = await self._look()
        raise self._asking.wrong("changed its bundles twice during one evaluation")

    async def _known(self) -> Held:
        """What the server held at the last look, unless that is too long ago to speak for it."""
        if self._held is not None and self._now() - self._looked_s <= STALE * self._refresh_s:
            return self._held
        return await self._look()

    async def _look(self) -> Held:
        """One look for all who ask; it goes on when one of them gives up. Raises PolicyError."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._looked())
            self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._looking)

    async def _looked(self) -> Held:
        try:
            async with asyncio.timeout(LOOK_S):
                self._connection.renew_token()
                found = await self._asking.held()
        except TimeoutError:
            raise self._asking.wrong("did not say in time what it holds") from None
        except ConfigError as error:
            raise PolicyError(str(error), "policy_unauthorized") from None
        if self._held is not None and self._held.digest != found.digest:
            log.info("%s holds other policies or data now: revision %s, digest %s", self._connection.server, found.revision, found.digest)
        self._held, self._looked_s = found, self._now()
        return found

    async def _first_look(self) -> None:
        until = self._now() + START_S
        while True:
            try:
                await self._look()
                return
            except PolicyError as error:
                if error.code != "policy_unavailable" or self._now() > until:
                    raise
            await asyncio.sleep(START_PAUSE_S)

    async def _keep_up(self) -> None:
        while True:
            self._told(await self._problem())
            await asyncio.sleep(self._refresh_s)

    async def _problem(self) -> str | None:
        """Health, and a look unless there was one just now."""
        try:
            async with asyncio.timeout(LOOK_S):
                problem = None if await self._asking.healthy() else "policy_unhealthy"
            if self._now() - self._looked_s >= self._refresh_s / 2:
                await self._look()
        except TimeoutError:
            return "policy_late"
        except PolicyError as error:
            return error.code
        except Exception:  # the watch must go on
            log.exception("looking after %s failed in a way that nobody foresaw", self._connection.server)
            return "policy_unavailable"
        return problem

    def _told(self, problem: str | None) -> None:
        """The log says when it changes."""
        if problem != self.problem:
            self.problem = problem
            if problem is None:
                log.info("%s is healthy again", self._connection.server)
            else:
                log.warning("%s is not healthy: %s", self._connection.server, problem)
        if self._observer is not None:
            self._observer.policy_health(problem is None)

    def _tell(self, result: str) -> None:
        if self._observer is not None:
            self._observer.policy_asked(result)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _verdict(answer: Answer, entry: str, found: Held) -> Verdict:
    verdict = parse_result(answer.result, entry, NAME, found.revision, found.digest, answer.decision_id)
    check_codes(verdict, found.codes)
    return verdict


async def _all(asked: Sequence[Awaitable[Found]]) -> list[Found]:
    """Every answer, once all have ended; or the first of what was raised."""
    answers: list[Found] = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers
