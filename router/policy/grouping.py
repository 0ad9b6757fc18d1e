"""The reasons that policy gives anew or no longer, and the rules behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from router.decision import Reason
from router.flips import NONE
from router.policy.evaluating import Cause


def codes_between(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Codes of reasons: `+` is given anew, `-` no longer."""
    one, other = set(before), set(after)
    return [*(f"+{code}" for code in sorted(other - one)), *(f"-{code}" for code in sorted(one - other))] or [NONE]


def places(reasons: Iterable[tuple[Reason, Sequence[Cause]]], code: str) -> tuple[str, ...]:
    """The rules that gave a code, by file and line."""
    causes = (cause.definition for reason, given in reasons if reason.code == code for cause in given)
    return tuple(f"{each.file}:{each.line} {each.name}" for each in causes)
