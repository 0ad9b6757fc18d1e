"""The `slack` kind of notifier: incoming webhooks as Slack defines them, which Mattermost and Rocket.Chat take too."""

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


class Config(PostConfig):
    """Posts a text with a link to an incoming webhook of Slack, or of a chat that takes the same."""


def build(settings: Config, *, clock: Clock, root: Path = Path(), resolver: AbstractResolver | None = None) -> PostNotifier:
    return PostNotifier(settings, _written, clock, root, resolver)


def _written(_: Notice, words: Words) -> Content:
    """Only `text`: other chats know no blocks."""
    facts = "\n".join(f"• {name}: {_escaped(value)}" for name, value in words.facts)
    return JSON, orjson.dumps({"text": f"*{_escaped(words.headline)}.*\n{facts}\n<{_escaped(words.link)}|Look at it>"})


def _escaped(text: str) -> str:
    """Slack's three characters (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
