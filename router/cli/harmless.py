"""What others wrote, as it can be shown on a terminal: it must not be obeyed, nor shown in another order than it stands."""

from __future__ import annotations

import json
from unicodedata import category

import click

OBEYED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))  # categories of Unicode


def harmless_text(text: str) -> str:
    """Control and format characters as they are written in JSON, but for the ends of lines."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(each):04x}" if each != "\n" and category(each) in OBEYED else each for each in text)


def one_line(text: str) -> str:
    """As `harmless_text`, of what others wrote within a line: it must not make lines that seem to be ours."""
    return harmless_text(text).replace("\n", "\\u000a")


def harmless_json(text: str) -> str:
    """JSON that says the same, without what a terminal obeys; that stands in its strings only."""
    if text.isprintable():
        return text
    return "".join(json.dumps(each)[1:-1] if each != "\n" and category(each) in OBEYED else each for each in text)


def say(text: str) -> None:
    """One line, of which others may have written a part."""
    click.echo(one_line(text))
