"""Two folders of policies: which rules were changed, and whose requests get another answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.rego.embedded import trees
from adapters.rego.syntax import read_module
from router.decision import Verdict
from router.flips import NONE, Groups, grouped
from router.policy.evaluating import Policies, intent_of
from router.policy.folder import PolicyFolder
from router.policy.grouping import codes_between, places
from router.policy.inputs import Document

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclass(frozen=True, slots=True)
class RuleChange:
    rule: str
    what: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Flip:
    document: Document
    before: Verdict
    after: Verdict

    @property
    def what(self) -> str:
        return f"{self.before.effect.value} → {self.after.effect.value}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`flips` have another effect or route, `otherwise` other reasons or obligations only. `rules` maps a reason's code to the rules, by
    file and line, that gave it in a flip."""

    inputs: int
    changes: tuple[RuleChange, ...]
    data: tuple[str, ...]
    flips: tuple[Flip, ...]
    otherwise: int
    rules: Mapping[str, tuple[str, ...]]

    def groups(self) -> Groups:
        """How many inputs flip from what to what, by intent, role, tenant and reason (`+` is given anew, `-` no longer)."""
        return grouped(("intent", "role", "tenant", "rule"), ((_named(flip), flip.what) for flip in self.flips))


def compare(one: PolicyFolder, other: PolicyFolder, documents: Sequence[Document]) -> Comparison:
    """Raises ConfigError where either is refused."""
    before, after = Policies(one), Policies(other)
    pairs = list(zip(documents, before.verdicts(documents), after.verdicts(documents), strict=True))
    flips = tuple(Flip(*each) for each in pairs if (each[1].effect, each[1].reroute) != (each[2].effect, each[2].reroute))
    otherwise = sum(_answer(first) != _answer(second) for _, first, second in pairs) - len(flips)
    data = tuple(sorted(_differing("lockgate.config", _config(one), _config(other))))
    return Comparison(len(pairs), tuple(_changes(one, other)), data, flips, otherwise, _rules(before, after, flips))


def _answer(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.effect, verdict.status, verdict.reroute, verdict.reasons, verdict.obligations


def _named(flip: Flip) -> dict[str, list[str]]:
    subject = flip.document.get("subject") or {}
    return {
        "intent": [intent_of(flip.document) or NONE],
        "role": list(dict.fromkeys(map(str, subject.get("roles") or [NONE]))),
        "tenant": [str(subject.get("tenant") or NONE)],
        "rule": _codes(flip),
    }


def _codes(flip: Flip) -> list[str]:
    return codes_between(*((each.code for each in verdict.reasons) for verdict in (flip.before, flip.after)))


def _rules(before: Policies, after: Policies, flips: Sequence[Flip]) -> dict[str, tuple[str, ...]]:
    """From one flip for each code."""
    found: dict[str, tuple[str, ...]] = {}
    for flip in flips:
        for code in _codes(flip):
            if code not in found and code != NONE:
                asked = after if code.startswith("+") else before
                found[code] = places(asked.evaluate(flip.document).reasons, code[1:])
    return found


def _changes(one: PolicyFolder, other: PolicyFolder) -> Iterator[RuleChange]:
    before, after = _written(one), _written(other)
    for rule in sorted(before.keys() | after.keys()):
        if rule not in after:
            yield RuleChange(rule, REMOVED, *before[rule][0])
        elif rule not in before:
            yield RuleChange(rule, ADDED, *after[rule][0])
        elif before[rule][1] != after[rule][1]:
            yield RuleChange(rule, CHANGED, *after[rule][0])


def _written(folder: PolicyFolder) -> dict[str, tuple[tuple[str, int], list[str]]]:
    """Each rule's place and text, without remarks and empty lines, so that only what it says counts."""
    found: dict[str, tuple[tuple[str, int], list[str]]] = {}
    for tree in trees(folder.policies):
        module, lines = read_module(tree), tree["source"]["contents"].splitlines()
        starts = [rule.line for rule in module.rules]
        for rule in module.rules:
            end = min((line for line in starts if line > rule.line), default=len(lines) + 1)
            said = [line.strip() for line in lines[rule.line - 1 : end - 1] if line.strip() and not line.strip().startswith("#")]
            name = ".".join((*module.package[1:], *rule.path))
            found.setdefault(name, ((module.file, rule.line), []))[1].extend(said)
    return found


def _config(folder: PolicyFolder) -> Any:
    below = folder.data.get("lockgate")
    return below.get("config") if isinstance(below, dict) else None


def _differing(path: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from _differing(f"{path}.{name}", one.get(name), other.get(name))
    elif one != other:
        yield path
