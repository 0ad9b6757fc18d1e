"""Who would be told something else, from what to what: what comparing two folders and replaying recorded decisions all tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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
