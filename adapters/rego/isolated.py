"""Rego in processes of its own, for policies of authors who are not trusted with the gateway's: the interpreter is not even loaded here. A
policy that loops, eats memory or breaks the interpreter off costs its own request a denial, and no other request more than a wait.

The answers are checked as any engine's. Verdicts are remembered by what the policies can read, as in the embedded engine; when a process
breaks off by itself or answers with what is no answer, all of them are forgotten, since some may be its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from functools import reduce
from typing import Any

import orjson

from adapters.rego.answers import UNDEFINED, data_text, input_text, memories, stopped, undefined
from adapters.rego.framing import ANSWERED, answered, question
from adapters.rego.helpers import BROKEN, ENDED, Helpers, Limits
from adapters.rego.plan import ENTRIES, Plan
from adapters.rego.planning import planned
from adapters.rego.result import check_codes, package_names, parse_result, written
from adapters.rego.sandbox import unavailable
from router.bundle.content import text_digest
from router.config.isolated import IsolatedEngine
from router.decision import Verdict
from router.errors import ConfigError, PolicyError
from router.ports import Intents, PolicyObserver
from router.verdicts import stricter

NAME = "isolated"
ANSWER = "answered"


def load(
    settings: IsolatedEngine,
    policies: Mapping[str, str],
    data: Mapping[str, Any],
    *,
    deadline_s: float,
    revision: str = "",
    plan: Plan | None = None,
    observer: PolicyObserver | None = None,
) -> IsolatedRego:
    """As `embedded.load`; policies whose plan is not known are checked in a process that ends afterwards. Raises ConfigError."""
    why = unavailable()
    if why is not None:
        raise ConfigError(f"The policy engine 'isolated' cannot be had here: {why}.")
    return IsolatedRego(settings, policies, data, plan or planned(policies, data), deadline_s, revision, observer)


class IsolatedRego:
    """See `ports.PolicyEngine`. One event loop. `problem` is a code while there is no process that could be asked."""

    waits = False  # it holds itself to its deadline, and knows how much CPU was had

    def __init__(
        self,
        settings: IsolatedEngine,
        policies: Mapping[str, str],
        data: Mapping[str, Any],
        plan: Plan,
        deadline_s: float,
        revision: str = "",
        observer: PolicyObserver | None = None,
    ) -> None:
        text = data_text(data)
        self._plan = plan
        rules = sorted(plan.questions, key=lambda rule: (rule not in ENTRIES.values(), rule))  # the entry points first
        self._places = {rule: place for place, rule in enumerate(rules)}
        self._written = written((*policies.values(), text))
        self._data = data
        self._memories = memories(plan, data)
        self._observer = observer
        setup = json.dumps([dict(policies), text, [[rule, plan.questions[rule].files] for rule in rules]]).encode()
        self._helpers = Helpers(setup, settings.processes, Limits(deadline_s, settings.memory), self._told)
        self.digest = text_digest(policies, text)
        self.revision = revision or self.digest[:12]

    @property
    def problem(self) -> str | None:
        return None if self._helpers.living else "policy_unavailable"

    async def open(self) -> None:
        """Raises ConfigError where the processes do not come up."""
        await self._helpers.open()

    async def close(self) -> None:
        await self._helpers.close()

    def afresh(self) -> IsolatedRego:
        """The same, with the same interpreters, that remembers nothing: for who asks how long it takes."""
        other = copy(self)
        other._memories = {}
        other._observer = None
        return other

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        rule = ENTRIES.get(entry)
        if rule is None or rule not in self._plan.questions:
            raise PolicyError(f"Policy has no entry point '{entry[:64]}'.", "policy_undefined")
        asked = (rule, *self._plan.beside(package_names(intent, entry), entry))
        keys = {each: self._key(each, document) for each in asked}
        found = {each: self._memories[each].get(key) if key is not None else None for each, key in keys.items()}
        missing = [each for each, verdict in found.items() if verdict is None]
        if missing:
            found |= await self._asked(missing, entry, document, keys)
        return reduce(stricter, [verdict for verdict in found.values() if verdict is not None])

    def _key(self, rule: str, document: Mapping[str, Any]) -> bytes | None:
        memory = self._memories.get(rule)
        return memory.key(document) if memory is not None else None

    async def _asked(
        self, rules: list[str], entry: str, document: Mapping[str, Any], keys: Mapping[str, bytes | None]
    ) -> dict[str, Verdict]:
        """All in one question. Only verdicts are remembered, never a failure."""
        remembering = self._memories
        try:
            answers = await self._answers(rules, document)
            verdicts = {rule: self._verdict(rule, kind, text, entry) for rule, (kind, text) in zip(rules, answers, strict=True)}
        except PolicyError as error:
            self._tell(error.code)
            raise
        self._tell(ANSWER)
        for rule, verdict in verdicts.items():
            if (key := keys[rule]) is not None:
                remembering[rule].put(key, verdict)
        return verdicts

    async def _answers(self, rules: list[str], document: Mapping[str, Any]) -> list[tuple[bytes, str]]:
        content = await self._helpers.ask(question([self._places[rule] for rule in rules], input_text(document)))
        try:
            return answered(content, len(rules))
        except ValueError:
            self._forget()
            raise _no_answer() from None

    def _verdict(self, rule: str, kind: bytes, text: str, entry: str) -> Verdict:
        if kind != ANSWERED:
            raise stopped(text)
        if text == UNDEFINED:
            raise undefined(rule)
        try:
            raw = orjson.loads(text)
        except ValueError:
            raise _no_answer() from None
        verdict = parse_result(raw, entry, NAME, self.revision, self.digest)
        check_codes(verdict, self._written)
        return verdict

    def _told(self, what: str) -> None:
        if what in (BROKEN, ENDED):
            self._forget()
        if self._observer is not None:
            self._observer.policy_process(what)
            self._observer.policy_health(self.problem is None)

    def _forget(self) -> None:
        self._memories = memories(self._plan, self._data)

    def _tell(self, result: str) -> None:
        if self._observer is not None:
            self._observer.policy_asked(result)


def _no_answer() -> PolicyError:
    return PolicyError("The process that evaluates policies answered with something that is no answer.", "policy_malformed")
