"""What a route of Envoy's says for itself: how its requests are to be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.doors.envoy.answers import NAMESPACE
from router.doors.envoy.messages.envoy_pb2 import (
    Metadata,
)
from router.errors import RefusedError
from router.settings import duration

BODY, DEADLINE = "body", "deadline"
PREFIX = "x-lockgate-"


@dataclass(frozen=True, slots=True)
class Overrides:
    """`unseen`: bodies of this route go on without being read; `shown`: it is said that they are held and shown. `deadline_s`: for a
    decision."""

    deadline_s: float
    unseen: bool = False
    shown: bool = False


def overrides(given: Mapping[str, str], deadline_s: float) -> Overrides:
    """A key that is not known, or a longer deadline than the door's own, is a fault of Envoy's configuration: nobody may believe to have
    said what is not heard. Raises RefusedError."""
    if not given:
        return Overrides(deadline_s)
    if unknown := sorted(set(given) - {BODY, DEADLINE}):
        raise _wrong(f"there is no '{unknown[0]}'")
    if given.get(BODY, "buffered") not in ("none", "buffered"):
        raise _wrong("'body' is none or buffered")
    if DEADLINE in given:
        try:
            own = duration(given[DEADLINE])
        except ValueError:
            raise _wrong("'deadline' is a duration such as 500ms") from None
        if not 0 < own <= deadline_s:
            raise _wrong("'deadline' is longer than that of the door")
        deadline_s = own
    return Overrides(deadline_s, given.get(BODY) == "none", given.get(BODY) == "buffered")


def said(initial: Iterable[tuple[str, str | bytes]], forwarded: Metadata) -> dict[str, str]:
    """By the gRPC metadata of the stream (`x-lockgate-body`), which a route may add to, or by the dynamic metadata of an earlier filter,
    which win."""
    found = {name[len(PREFIX) :]: value for name, value in initial if name.startswith(PREFIX) and isinstance(value, str)}
    if NAMESPACE in forwarded.filter_metadata:
        found.update({name: value.string_value for name, value in forwarded.filter_metadata[NAMESPACE].fields.items()})
    return found


def _wrong(sentence: str) -> RefusedError:
    return RefusedError(f"The metadata of Envoy's route are wrong: {sentence}.", "envoy_metadata_invalid", 500)
