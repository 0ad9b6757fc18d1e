"""What became of a request, put together from its records for the page that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = Mapping[str, Any]
STAGES = ("admission", "signals", "classification", "risk", "policy", "route")


@dataclass(frozen=True, slots=True)
class Told:
    """A record of the story. `event` names it in a word; `proven` says whether a checkpoint covers it."""

    index: int
    kind: str
    event: str
    time: str
    leaf: Json
    personal: Json
    sealed: str
    proven: bool
    steps: int


@dataclass(frozen=True, slots=True)
class Story:
    """`leaf` is the decision's own; `personal` what was opened of it, empty where nothing was."""

    id: str
    leaf: Json
    personal: Json
    sealed: str
    columns: Json
    records: Sequence[Told]
    checkpoint: str | None
    timings: Sequence[tuple[str, int]] = field(default=())

    @property
    def total_ns(self) -> int:
        return sum(spent for _, spent in self.timings)

    @property
    def reviewed(self) -> bool:
        return any(told.kind == "review" for told in self.records)

    def reasons(self, part: str) -> list[Json]:
        """With their messages where personal fields are open; the codes are in the leaf."""
        opened = self.opened(f"{part}_reasons")
        if opened is not None:
            return list(opened)
        return [{"code": code, "message": ""} for code in (self.leaf.get(part) or {}).get("reasons", ())]

    def obligations(self) -> list[Json]:
        opened = self.opened("verdict_obligations")
        if opened is not None:
            return list(opened)
        return [{"name": name, "params": None} for name in (self.leaf.get("verdict") or {}).get("obligations", ())]

    def opened(self, name: str) -> Any:
        """A personal field that is JSON; None where it is masked, erased or not asked for."""
        try:
            return orjson.loads(self.personal[name]) if name in self.personal else None
        except orjson.JSONDecodeError:
            return None


def stories(records: Sequence[Json]) -> list[Story]:
    """One for each decision among them: a trace can have several."""
    by_decision: dict[str, list[Json]] = {}
    for record in records:
        by_decision.setdefault(str(record["columns"]["decision_id"]), []).append(record)
    return [story for group in by_decision.values() if (story := _story(group)) is not None]


def _story(group: Sequence[Json]) -> Story | None:
    first = next((record for record in group if record["columns"]["kind"] == "decision"), None)
    if first is None:
        return None
    leaf = first["leaf"]
    spent = leaf.get("stages_ns") or {}
    return Story(
        id=leaf["id"],
        leaf=leaf,
        personal=first.get("personal") or {},
        sealed=first["sealed"],
        columns=first["columns"],
        records=[_told(record) for record in group],
        checkpoint=first["checkpoint"],
        timings=[(stage, int(spent[stage])) for stage in (*STAGES, *(each for each in spent if each not in STAGES)) if stage in spent],
    )


def _told(record: Json) -> Told:
    leaf, columns = record["leaf"], record["columns"]
    kind = columns["kind"]
    event = leaf.get("event") or (leaf.get("outcome") or {}).get("result") or columns["event"] or kind
    return Told(
        index=record["index"],
        kind=kind,
        event=str(event) if kind != "decision" else "decided",
        time=leaf.get("time") or columns["time"],
        leaf=leaf,
        personal=record.get("personal") or {},
        sealed=record["sealed"],
        proven=record["checkpoint"] is not None,
        steps=len(record["inclusion"]),
    )
