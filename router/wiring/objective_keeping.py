"""What this node counted itself, kept in its state directory from one start to the next. It is no evidence: a file that cannot be read is
as good as none, and the log says so."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from router import durable
from router.config.objectives import ObjectivesConfig
from router.telemetry.objectives.history import History

log = logging.getLogger("lockgate.objectives")
FILE = "objectives.json"
VERSION = 1
MOST_BYTES = 2**20
NAMES = ("judged", "ended", "decisions", "audit_lag", "policy_age")


@dataclass(slots=True)
class Kept:
    """`terms`: by which limits each was counted. What was counted by others cannot be counted again, and begins anew."""

    judged: History
    ended: History
    decisions: History
    audit_lag: History
    policy_age: History
    terms: dict[str, Any] = field(default_factory=dict)

    def follow(self, settings: ObjectivesConfig, now: float) -> None:
        """What is configured now, and a clock that was put back."""
        wanted = _terms(settings)
        for name in NAMES:
            history: History = getattr(self, name)
            known = self.terms.get(name, wanted.get(name))
            if (name in wanted and known != wanted[name]) or history.ahead_of(now):
                setattr(self, name, History(now))
        self.terms.update(wanted)


def _terms(settings: ObjectivesConfig) -> dict[str, Any]:
    """Those that are switched off go on as they were."""
    found = dict[str, Any]()
    if settings.decisions is not None:
        found["decisions"] = settings.decisions.within
    if settings.audit_lag is not None:
        found["audit_lag"] = [settings.audit_lag.waiting, settings.audit_lag.unsigned]
    if settings.policy_age is not None:
        found["policy_age"] = settings.policy_age.most
    return found


def new(now: float) -> Kept:
    make: Callable[[], History] = lambda: History(now)  # noqa: E731  # one line, five times
    return Kept(make(), make(), make(), make(), make())


def read_kept(place: Path, now: float) -> Kept:
    try:
        with place.open("rb") as file:
            told = orjson.loads(file.read(MOST_BYTES))
        if told["version"] != VERSION:
            raise ValueError("it is of another version")
        judged, ended, decisions, audit_lag, policy_age = (History.load(told["histories"][name]) for name in NAMES)
        return Kept(judged, ended, decisions, audit_lag, policy_age, dict(told["terms"]))
    except FileNotFoundError:
        return new(now)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, zlib.error) as error:
        log.warning("what was seen of the objectives before cannot be read, and begins anew: %s: %s", place, error)
        return new(now)


def write_kept(place: Path, kept: Kept) -> None:
    """Raises OSError."""
    histories = {name: getattr(kept, name).dump() for name in NAMES}
    with durable.replace(place) as file:
        file.write(orjson.dumps({"version": VERSION, "terms": kept.terms, "histories": histories}))
