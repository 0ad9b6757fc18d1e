"""What the page of engines that wait says is so."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
import yaml

from router.catalog import Resume
from router.doors.decide_models import DecideRequest
from router.registry import ADAPTERS
from router.review.resuming import MOST_CHARS, MOST_FIELDS
from router.review.standing import ENDED
from tests.unit.docs.pages import page

TEXT = page("resuming.md")
(CATALOG,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)]


@pytest.mark.parametrize("name", CATALOG["destinations"])
def test_every_destination_is_one(name: str) -> None:
    """As its own kind's settings have it."""
    block: dict[str, Any] = dict(CATALOG["destinations"][name])
    ADAPTERS.settings("destination", block.pop("adapter")).model_validate(block)


def test_the_route_leads_to_them() -> None:
    """By names that are there."""
    resume = Resume.model_validate(CATALOG["routes"]["payments.step"]["resume"])
    assert {resume.destination, resume.refused} <= set(CATALOG["destinations"])


def test_the_call_is_one_and_so_are_the_limits() -> None:
    """As the decide API takes it."""
    call, told = re.findall(r"```json\n(.+?)```", TEXT, re.DOTALL)
    assert DecideRequest.model_validate(orjson.loads(call.replace("…", ""))).resume is not None
    assert orjson.loads(told)["ahead"] is True
    assert (MOST_FIELDS, MOST_CHARS) == (8, 4096)
    assert all(f"`{state}`" in TEXT for state in ENDED)
