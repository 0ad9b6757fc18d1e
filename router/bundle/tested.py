"""What tests did in another engine, and whether that is what they did in ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
EMBEDDED, OPA = "embedded", "opa"  # as an attestation names the engine


@dataclass(frozen=True, slots=True)
class Tested:
    """Of a run in OPA: `outcomes` by test, with its package; `why` of those that failed. `by` is how OPA was reached: `server`, `binary` or
    `library`."""

    version: str
    by: str
    outcomes: Mapping[str, str]
    why: Mapping[str, str]

    @property
    def passed(self) -> int:
        return sum(outcome == PASSED for outcome in self.outcomes.values())


def differences(ours: Mapping[str, str], theirs: Tested) -> Iterator[tuple[str, str]]:
    """Each test on which the engines do not agree, and a sentence."""
    for name in sorted({*ours, *theirs.outcomes}):
        one, other = ours.get(name), theirs.outcomes.get(name)
        if one == other:
            continue
        if one is None:
            yield name, f"OPA ran it ({other}), and the embedded engine did not, for it stands in no file of tests."
        elif other is None:
            yield name, f"The embedded engine ran it ({one}), and OPA did not."
        else:
            why = f": {theirs.why[name]}" if theirs.why.get(name) else ""
            yield name, f"It {_did(one)} in the embedded engine and {_did(other)} in OPA {theirs.version}{why}."


def _did(outcome: str) -> str:
    return "was skipped" if outcome == SKIPPED else outcome
