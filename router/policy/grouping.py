"""Who is judged otherwise, and by which rules: what comparing two folders and replaying recorded decisions both tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from router.decision import Reason
from router.policy.evaluating import Cause

NONE = "-"
Groups = dict[str, dict[str, dict[str, int]]]
"""By group (`intent`, `tenant`, `rule`, …) and name in it: how many flip from what to what."""


def grouped(groups: Iterable[str], flips: Iterable[tuple[Mapping[str, Sequence[str]], str]]) -> Groups:
    """`flips`: the names that each has in these groups, and what flips to what, such as `allow → deny`."""
    found: dict[str, dict[str, Counter[str]]] = {group: {} for group in groups}
    for names, what in flips:
        for group, below in found.items():
            for name in names[group]:
                below.setdefault(name, Counter())[what] += 1
    return {group: {name: dict(counts) for name, counts in sorted(names.items())} for group, names in found.items()}


def codes_between(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Codes of reasons: `+` is given anew, `-` no longer."""
    one, other = set(before), set(after)
    return [*(f"+{code}" for code in sorted(other - one)), *(f"-{code}" for code in sorted(one - other))] or [NONE]


def places(reasons: Iterable[tuple[Reason, Sequence[Cause]]], code: str) -> tuple[str, ...]:
    """The rules that gave a code, by file and line."""
    causes = (cause.definition for reason, given in reasons if reason.code == code for cause in given)
    return tuple(f"{each.file}:{each.line} {each.name}" for each in causes)
