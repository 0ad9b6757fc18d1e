"""The `teams` kind of notifier: an Adaptive Card to a workflow of Microsoft Teams that posts what a webhook brings to a channel."""

from __future__ import annotations

from pathlib import Path

import orjson
from aiohttp.abc import AbstractResolver

from adapters.notifying.config import PostConfig
from adapters.notifying.post import Content, PostNotifier
from adapters.notifying.words import Words
from router.ports import Clock, Notice

__all__ = ["Config", "build"]
JSON = {"content-type": "application/json"}
CARD = "application/vnd.microsoft.card.adaptive"
SCHEMA, VERSION = "http://adaptivecards.io/schemas/adaptive-card.json", "1.4"


class Config(PostConfig):
    """Posts an Adaptive Card to a workflow of Microsoft Teams."""


def build(settings: Config, *, clock: Clock, root: Path = Path(), resolver: AbstractResolver | None = None) -> PostNotifier:
    return PostNotifier(settings, _written, clock, root, resolver)


def _written(_: Notice, words: Words) -> Content:
    """The card's only action opens the link."""
    card = {
        "$schema": SCHEMA,
        "type": "AdaptiveCard",
        "version": VERSION,
        "body": [
            {"type": "TextBlock", "text": f"{words.headline}.", "weight": "Bolder", "wrap": True},
            {"type": "FactSet", "facts": [{"title": name, "value": value} for name, value in words.facts]},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Look at it", "url": words.link}],
    }
    attachment = {"contentType": CARD, "contentUrl": None, "content": card}
    return JSON, orjson.dumps({"type": "message", "attachments": [attachment]})
