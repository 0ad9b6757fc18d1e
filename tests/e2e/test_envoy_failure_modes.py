"""Every row of `docs/envoy-failure-modes.md`, played against a real Envoy; and the page says what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.envoy import binary
from tests.e2e.envoy_scenarios import PAGE, SCENARIOS, Scenario, page, played
from tests.e2e.running import Lockgate, prepared


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """A Lockgate that does not run, for its service behind Envoy."""
    binary()
    with prepared(tmp_path_factory.mktemp("yard")) as lockgate:
        yield lockgate


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name.replace(" ", "-") for each in SCENARIOS])
def test_envoy_does_what_the_page_says(scenario: Scenario, service: Lockgate, tmp_path: Path) -> None:
    """A row of the page holds for the Envoy that it names."""
    seen = list[str]()
    while scenario.expected not in seen and len(seen) < (5 if scenario.hasty else 1):
        seen.append(played(scenario, service, tmp_path / f"envoy{len(seen)}"))
    assert seen[-1] == scenario.expected, seen


def test_the_page_is_what_was_played() -> None:
    """The page has a row for each scenario, and the version of the Envoy that it was played against."""
    binary()
    assert PAGE.read_text() == page({each.name: each.expected for each in SCENARIOS})
