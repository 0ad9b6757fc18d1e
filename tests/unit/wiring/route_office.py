"""A workspace of two intents that would be better off by another route, for tests of what is suggested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.adaptation.proposals import Proposals
from router.adaptation.route_effects import Seen, Window
from router.ports import Lesson
from router.system import UuidV7
from router.wiring.route_history import History
from router.wiring.route_suggestions import RouteDesk
from router.workspace import Workspace, parse, read
from tests.contract.small_workspace import small_workspace
from tests.unit.adaptation.approvals import Office as Approving
from tests.unit.adaptation.parts import RITA, Learning

ROUTES = """
  cheap: {destination: desk, path: /ask, method: POST, cost: 1, alternatives: [dear]}
  dear: {destination: other, path: /ask, method: POST, cost: 5, alternatives: [cheap]}
"""
SETTINGS = "learning: {suggestions: {every: 1h, most: 1}}\n"


@dataclass
class Requests:
    """Half of each intent's went by either route; of those by the first so many of a hundred failed."""

    failed: int = 30
    asked: list[Window] = field(default_factory=list)
    inputs: Sequence[Mapping[str, Any]] = ()

    async def routed(self, intents: object, ruled: object, window: Window, most: int) -> History:
        self.asked.append(window)
        times = [window.until_ns - 1 - number * (10**9) for number in range(100)]
        seen = [Seen(f"c{at}", at, "cheap", "desk", "allow", failed=number % 10 < self.failed // 10) for number, at in enumerate(times)]
        seen += [Seen(f"d{at}", at, "dear", "other", "reroute", failed=False) for at in times]
        return History({"cancel": seen, "leave": seen}, {}, False)

    async def policy_inputs(self, intent: str, window: Window, most: int) -> Mapping[str, Mapping[str, Any]]:
        """Of requests by the first route."""
        first = [f"c{window.until_ns - 1 - number * (10**9)}" for number in range(100)]
        told = {"entry": "decision", "route": {"name": "cheap"}, "classification": {"intent": intent}}
        return {name: {**told, **each} for name, each in zip(first, self.inputs, strict=False)}


@dataclass
class Office:
    learning: Learning
    workspace: Workspace
    requests: Requests = field(default_factory=Requests)

    def __post_init__(self) -> None:
        one = self.learning
        self.approving = Approving(one)
        self.proposals = Proposals(one.keeping, one.keys, one.clock, UuidV7(), lambda: "c" * 64, self.approving.approvals)

    def desk(self) -> RouteDesk:
        one = self.learning
        return RouteDesk(one.keeping, self.proposals, self.requests, one.keys, one.clock, lambda: self.workspace)

    async def all(self) -> list[Lesson]:
        return [lesson for _, lesson in await self.proposals.page([], 0, 100)]

    async def states(self) -> list[tuple[str, str]]:
        return [(next(iter(lesson.terms["intents"])), lesson.state) for lesson in await self.all()]

    async def why_not(self) -> dict[str, str | None]:
        return {each["effect"]["intent"]: each["why_not"] for each in (await self.desk().suggest(RITA))["considered"]}


def office_in(folder: Path) -> Office:
    small_workspace(folder, "{min_confidence: 0.7}")
    catalog, config = folder / "catalog.yaml", folder / "lockgate.yaml"
    text = catalog.read_text().replace("routes: {ask:", "routes:\n  ask:").replace("method: POST}}", f"method: POST}}{ROUTES}")
    text = text.replace(
        "destinations: {desk:", "destinations:\n  other: {adapter: http, upstreams: [{url: 'http://127.0.0.1:9001'}]}\n  desk:"
    )
    catalog.write_text(text.replace("9000'}]}}", "9000'}]}").replace("{route: ask,", "{route: cheap,"))
    config.write_text(config.read_text() + SETTINGS)
    return Office(Learning(), parse(read(folder, {}), {}))
