"""One document put to a folder of policies: the verdict that the gateway would get, and which rules it comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from adapters.rego.check import named
from adapters.rego.embedded import EmbeddedRego, compile_all, load
from adapters.rego.instrument import Definition, Explained, Explainer, without
from adapters.rego.plan import ENTRIES as ENTRY_RULES
from adapters.rego.result import package_names
from adapters.rego.syntax import Path
from router.decision import Obligation, Reason, Verdict
from router.errors import ConfigError
from router.policy.folder import PolicyFolder
from router.stages.policy import judge, plausible

ENTRIES = ("admission", "decision")
ASKABLE = (*ENTRIES, "review")
DEADLINE_S = 10.0  # an author waits; the gateway has its own
DEPTH = 6
MOST_KEPT = 32  # that lack some definitions
Left = tuple[Definition, str | None]  # a definition that is left out; with a text it says that in place of what it says


@dataclass(frozen=True, slots=True)
class Cause:
    """A definition that was come to; `because` are those that it refers to, as far as they were come to."""

    definition: Definition
    held: bool
    because: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`reasons` and `obligations` each with the rules that gave it; `decided` are the bodies of `result` that held."""

    verdict: Verdict
    decided: tuple[Definition, ...]
    reasons: tuple[tuple[Reason, tuple[Cause, ...]], ...]
    obligations: tuple[tuple[Obligation, tuple[Cause, ...]], ...]
    explained: tuple[Explained, ...]


class Policies:
    """A folder's policies, loaded as the gateway loads them. Raises ConfigError where they are refused."""

    def __init__(self, folder: PolicyFolder) -> None:
        self._folder = folder
        self._engine = load(folder.policies, folder.data, deadline_s=DEADLINE_S)
        self._lacking: dict[frozenset[Left], Policies] = {}
        self.modules, _ = compile_all(folder.policies, {})
        self._explainer = Explainer(folder.policies, folder.data)
        self._named: dict[tuple[str, Path, int], set[Path]] = {}
        for module, rule, targets in named(self.modules):
            self._named.setdefault((module.file, (*module.package, *rule.path), rule.line), set()).update(targets)

    @property
    def digest(self) -> str:
        """As every verdict of theirs has it."""
        return self._engine.digest

    def verdicts(self, documents: Iterable[Mapping[str, Any]]) -> list[Verdict]:
        """Whatever goes wrong is a deny with its code, as in the gateway. Raises ConfigError for a document with no entry point."""

        async def judged() -> list[Verdict]:
            return [await judge(self._engine, entry_of(each), intents_of(each), each) for each in documents]

        return asyncio.run(judged())

    def lacking(self, left: frozenset[Left]) -> Policies:
        """The policies in which none of these definitions is ever true, or each has the value that is written for it."""
        found = self._lacking.get(left) if left else self
        if found is None:
            found = self._lacking[left] = copy(self)
            texts = without(self._folder.policies, dict(left))
            found._engine = EmbeddedRego(texts, self._folder.data, self._engine.plan, DEADLINE_S, remember=False)
            found._explainer = Explainer(texts, self._folder.data)
            if len(self._lacking) > MOST_KEPT:
                del self._lacking[next(iter(self._lacking))]
        return found

    def explain(self, document: Mapping[str, Any]) -> list[Explained]:
        """By every rule that is asked: the entry point's, the plausible intents' own where they have one, that of adopted packages."""
        entry = entry_of(document)
        rules = [ENTRY_RULES[entry], *self._engine.plan.beside(package_names(intents_of(document), entry), entry)]
        return [self._explainer.explain(rule, document) for rule in rules]

    def evaluate(self, document: Mapping[str, Any]) -> Evaluation:
        (verdict,), explained = self.verdicts([document]), self.explain(document)
        reasons = ((each, {"code": each.code, "message": each.message}) for each in verdict.reasons)
        duties = ((each, {"name": each.name, "params": each.params}) for each in verdict.obligations)
        decided = (held.definition for found in explained for held in found.held if held.definition.rule[-1] == "result")
        return Evaluation(
            verdict,
            tuple(dict.fromkeys(decided)),
            tuple((each, self._causes(explained, value)) for each, value in reasons),
            tuple((each, self._causes(explained, value)) for each, value in duties),
            tuple(explained),
        )

    def _causes(self, explained: Sequence[Explained], value: Any) -> tuple[Cause, ...]:
        """The definitions with this very value, rules before functions: those only make what rules say."""
        found = [held.definition for each in explained for held in each.held if _same(held.value, value)]
        rules = [each for each in found if not each.function] or found
        known = {held.definition for each in explained for held in each.held}
        seen = known | {definition for each in explained for definition in each.not_held}
        return tuple(self._cause(each, known, seen, (each,)) for each in dict.fromkeys(rules))

    def _cause(self, definition: Definition, held: set[Definition], seen: set[Definition], above: tuple[Definition, ...]) -> Cause:
        below: Iterator[Definition] = iter(())
        if len(above) < DEPTH:
            targets = self._targets(definition)
            below = (each for each in sorted(seen, key=_place) if each.rule in targets and each not in above and not _made(each))
        because = tuple(self._cause(each, held, seen, (*above, each)) for each in below)
        return Cause(definition, definition in held, because)

    def _targets(self, definition: Definition) -> set[Path]:
        """An `else` is written on a later line than the rule that it belongs to."""
        lines = [key for key in self._named if key[:2] == (definition.file, definition.rule) and key[2] <= definition.line]
        return self._named[max(lines, key=lambda key: key[2])] if lines else set()


def entry_of(document: Mapping[str, Any]) -> str:
    entry = document.get("entry")
    if entry not in ASKABLE:
        raise ConfigError(f"The input's 'entry' must be {' or '.join(ASKABLE)}.")
    return str(entry)


def intent_of(document: Mapping[str, Any]) -> str | None:
    found = document.get("classification")
    intent = found.get("intent") if isinstance(found, dict) else None
    return intent if isinstance(intent, str) else None


def intents_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Those whose packages the gateway asks about such a document."""
    found = document.get("classification")
    listed = found.get("prediction_set") if isinstance(found, dict) else None
    return plausible(intent_of(document), [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else [])


def _same(value: Any, wanted: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and {"message": "", **value} == wanted if "code" in wanted else value == wanted


def _made(definition: Definition) -> bool:
    """What only puts a reason together explains nothing."""
    return definition.rule[:3] == ("data", "lockgate", "lib") and definition.rule[3:] == ("violation", "reason")


def _place(definition: Definition) -> tuple[str, int]:
    return definition.file, definition.line
