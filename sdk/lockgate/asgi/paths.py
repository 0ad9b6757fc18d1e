"""What is decided about which paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from starlette.types import Scope

SAFE = "/:@!$&'()*+,;=~"
Unavailable = Literal["refuse", "let_pass_undecided"]


@dataclass(frozen=True, slots=True)
class Rule:
    """For `path`, which is one path, or all below one where it ends in `/*`. The first rule that fits counts.

    `decide`: False leaves the application to itself. `when_unavailable`: what happens when there is no decision to be had; letting a
    request pass is said in the log, and reported as work that nobody decided about. `unseen_bodies`: decide by the head alone where a body
    is neither text nor JSON, which policy then cannot see; else such a request is refused."""

    path: str
    decide: bool = True
    when_unavailable: Unavailable = "refuse"
    unseen_bodies: bool = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or "*" in self.path.removesuffix("/*"):
            raise ValueError(f"'{self.path}' is no path: it begins with / and has * only as its last part.")
        if self.when_unavailable not in ("refuse", "let_pass_undecided"):
            raise ValueError(f"'{self.when_unavailable}' is neither refuse nor let_pass_undecided.")

    def fits(self, path: str) -> bool:
        if self.path.endswith("/*"):
            return path.startswith(self.path[:-1]) or path == self.path[:-2]
        return path == self.path


def path_of(scope: Scope) -> str:
    """Percent-encoded, and the one by which the application routes: what the caller wrote may be read in two ways. Raises ValueError."""
    return quote(scope["path"], safe=SAFE) or "/"


EVERYTHING = Rule("/*")


def rule_for(rules: Sequence[Rule], path: str) -> Rule:
    """What no rule fits is decided about, and so is a path that may lead elsewhere than it says: Lockgate refuses such a one."""
    if "\\" in path or not {".", ".."}.isdisjoint(path.split("/")):
        return EVERYTHING
    return next((rule for rule in rules if rule.fits(path)), EVERYTHING)
