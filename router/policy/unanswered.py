"""Requests that may be held, and that nobody may ever decide about: such as under policies from before there was a question about that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from adapters.rego.syntax import Module, Path
from router.faults import Fault

REVIEW: Path = ("data", "lockgate", "review")
HOLDS = re.compile(r"\breview\b")  # who never writes the effect holds nothing


def unanswered(modules: Sequence[Module], policies: Mapping[str, str]) -> Iterator[Fault]:
    """One fault at most, in the first file that may hold something. `policies`: texts by file."""
    if any(module.package[: len(REVIEW)] == REVIEW for module in modules):
        return
    for module in sorted(modules, key=lambda each: each.file):
        if HOLDS.search(policies.get(module.file, "")):
            sentence = (
                "Requests may be held, and no policy has the package 'lockgate.review': nobody may approve or reject one. `lockgate init`"
                " writes one to begin with: policies/lockgate/review.rego, and policies/lockgate/rules/reviewing, which it asks."
            )
            yield Fault(module.file, module.line, sentence)
            return
