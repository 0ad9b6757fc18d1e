"""The in-memory twin of a policy engine: answers that are written down beforehand, read as strictly as an engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.rego.result import package_names, parse_result
from router.decision import Verdict
from router.errors import PolicyError
from router.ports import Intents
from router.verdicts import stricter

ENTRIES = ("admission", "decision", "review")

ADOPTED = {"decision": ("adopted",), "admission": ("adopted_admission",)}


class MemoryPolicy:
    """`answers` by the path below `data.lockgate`: `admission`, `decision`, `review`, `intents.<package>`, `adopted`,
    `adopted_admission`. An exception is raised."""

    problem: str | None = None

    def __init__(self, answers: Mapping[str, Any], revision: str = "memory", digest: str = "0" * 64) -> None:
        self._answers = dict(answers)
        self.revision = revision
        self.digest = digest
        self.asked: list[tuple[str, Intents, Mapping[str, Any]]] = []

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """As above."""

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        self.asked.append((entry, intent, document))
        if entry not in ENTRIES or entry not in self._answers:
            raise PolicyError(f"Policy has no entry point '{entry}'.", "policy_undefined")
        verdict = self._read(entry, entry)
        beside = [f"intents.{name}" for name in package_names(intent, entry)]
        for package in (*beside, *ADOPTED.get(entry, ())):
            if package in self._answers:
                verdict = stricter(verdict, self._read(entry, package))
        return verdict

    def _read(self, entry: str, path: str) -> Verdict:
        answer = self._answers[path]
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            raise PolicyError(f"Policy gave no answer: {path} is undefined.", "policy_undefined")
        return parse_result(answer, entry, "memory", self.revision, self.digest)
