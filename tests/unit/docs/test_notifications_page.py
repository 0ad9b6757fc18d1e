"""What the page of notifications says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from adapters.webhook_notifier import Config, build
from router.config.evidence import ReviewConfig
from router.config.notify import Notify
from router.registry import ADAPTERS
from router.review.notices import EVENTS
from router.system import SystemClock
from tests.contract.test_notifiers import LINK, NOTICE, SECRET
from tests.contract.webhook_receiver import Receiver, receiving
from tests.unit.docs.pages import first_cells, page, section

TEXT = page("notifications.md")


def example() -> Any:
    (block,) = re.findall(r"```yaml\n(review:\n.+?)```", TEXT, re.DOTALL)
    return yaml.safe_load(block)["review"]


def test_the_example_is_one() -> None:
    """With every channel, whose settings each channel's own model takes."""
    told = ReviewConfig.model_validate(example())
    assert {each.through.adapter for each in told.notify.values()} == set(ADAPTERS.names("notifier"))
    for each in told.notify.values():
        ADAPTERS.settings("notifier", each.through.adapter).model_validate(dict(each.through.settings))


def test_every_event_and_every_channel_has_a_row() -> None:
    """And no row is of another."""
    assert sorted(first_cells(section(TEXT, "What is told"))) == sorted(EVENTS)
    assert sorted(first_cells(section(TEXT, "Channels"))) == sorted(ADAPTERS.names("notifier"))


@pytest.mark.parametrize("setting", sorted(Notify.model_fields))
def test_every_setting_is_named(setting: str) -> None:
    """In the example or in the text."""
    assert re.search(rf"\b{setting}\b", TEXT)


async def test_the_shown_webhook_has_the_fields_of_a_real_one(tmp_path: Path) -> None:
    """All of them and no other."""
    (block,) = re.findall(r"```json\n(.+?)```", TEXT, re.DOTALL)
    shown = orjson.loads(block)
    async with receiving(Receiver()) as receiver:
        given = {"url": f"{receiver.url}/hook", "secrets": [SECRET], "insecure": True, "allow_networks": ["127.0.0.0/8"]}
        notifier = build(Config.model_validate(given), clock=SystemClock(), root=tmp_path)
        await notifier.open()
        await notifier.tell(NOTICE, LINK)
        await notifier.close()
        sent = orjson.loads(receiver.taken[NOTICE.id])
    assert (list(shown), list(shown["data"])) == (list(sent), list(sent["data"]))
