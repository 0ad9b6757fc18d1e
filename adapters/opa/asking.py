"""Questions to an OPA server and what its answers mean, in PolicyErrors with a code. Tried again is only what never reached the server, or
what a proxy before it answered with 502 or 503."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.opa.connection import BrokenError, Connection, NotReachedError
from adapters.opa.held import Bundles, Held, bundles_of, held
from router.errors import PolicyError

# Without strict errors a builtin's error is undefined, which turns a deny rule off.
ASKED = "?strict-builtin-errors=true&provenance=true"
CONFIG = "/v1/data/lockgate/config?provenance=true"
POLICIES = "/v1/policies"
HEALTH = "/health?plugins&bundles"
MOST_ANSWER = 1 << 20
MOST_HELD = 64 << 20  # the list of policies comes with their syntax trees
PAUSE_S = 0.002
TRANSIENT = (502, 503)
DECISION_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
KIND = re.compile(r"eval_[a-z_]{1,40}")
PLACE = re.compile(r"[\w./ -]{1,200}")


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` as the policy gave it, under which bundles, and the id in OPA's decision log where it has one."""

    result: Any
    bundles: Bundles
    decision_id: str | None


class Asking:
    """`patient_s` is how long something is tried again. Every method raises PolicyError; whoever waits bounds the time."""

    def __init__(self, connection: Connection, patient_s: float) -> None:
        self._connection = connection
        self._patient_s = patient_s

    async def evaluated(self, path: str, body: bytes) -> Answer:
        """`policy_undefined` where there is no result, `policy_error` where the policy stopped with an error."""
        status, content = await self._sent("POST", path + ASKED, body, MOST_ANSWER)
        if status == 500:
            self._raise_evaluation_error(content)
        answer = self._document(status, content)
        try:
            bundles = bundles_of(answer.get("provenance"))
        except (ValueError, AttributeError):
            raise self.wrong("does not say which bundles it decided by") from None
        if "result" not in answer:
            raise PolicyError(f"Policy gave no answer: {path} is undefined.", "policy_undefined")
        decision_id = answer.get("decision_id") or None
        if decision_id is not None and not (isinstance(decision_id, str) and DECISION_ID.fullmatch(decision_id)):
            raise PolicyError("The OPA server's decision_id is no id.", "policy_malformed")
        return Answer(answer["result"], bundles, decision_id)

    async def held(self) -> Held:
        """The data and its bundles first: should bundles change before the policies are listed, the next answer names others, and it is
        looked at again."""
        config = self._document(*await self._sent("GET", CONFIG, None, MOST_HELD))
        listed = self._document(*await self._sent("GET", POLICIES, None, MOST_HELD))
        try:
            bundles = bundles_of(config.get("provenance"))
            return await asyncio.to_thread(held, listed.get("result"), config.get("result"), bundles)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self.wrong("does not say what it holds in the form that OPA does") from None

    async def healthy(self) -> bool:
        status, _ = await self._sent("GET", HEALTH, None, MOST_ANSWER)
        return status == 200

    def wrong(self, what: str) -> PolicyError:
        return PolicyError(f"{self._connection.server} {what}.", "policy_unavailable")

    async def _sent(self, method: str, path: str, body: bytes | None, most_bytes: int) -> tuple[int, bytes]:
        """Tried again each time a little later."""
        loop, pause = asyncio.get_running_loop(), PAUSE_S
        until = loop.time() + self._patient_s
        while True:
            try:
                status, content = await self._connection.ask(method, path, body, most_bytes)
            except BrokenError as error:
                raise self.wrong(f"gave no usable answer: {error}") from None
            except NotReachedError as error:
                problem = f"gave no usable answer: {error}"
            else:
                if status not in TRANSIENT:
                    return status, content
                problem = f"answered {status}"
            if loop.time() + pause > until:
                raise self.wrong(problem)
            await asyncio.sleep(pause)
            pause *= 2

    def _document(self, status: int, content: bytes) -> dict[str, Any]:
        if status in (401, 403):
            raise PolicyError(f"{self._connection.server} does not let us ask: it answered {status}.", "policy_unauthorized")
        if status != 200:
            raise self.wrong(f"answered {status}")
        try:
            answer = orjson.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self.wrong("answered with something that OPA does not")
        return answer

    def _raise_evaluation_error(self, content: bytes) -> None:
        """Place and kind; what the message quotes may be what a person sent, and is left out. Any other 500 is the server's own."""
        try:
            first = orjson.loads(content)["errors"][0]
            kind, where = str(first["code"]), first.get("location") or {}
            file, row = str(where.get("file", "")), where.get("row")
        except (ValueError, LookupError, TypeError, AttributeError):
            return
        if KIND.fullmatch(kind):
            place = f" at {file}:{row}" if PLACE.fullmatch(file) and type(row) is int else ""
            raise PolicyError(f"Policy stopped with an error{place}: {kind}.", "policy_error")
