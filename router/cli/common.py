"""What the commands share: where the workspace is, and how things are said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from router.cli.harmless import harmless_json, harmless_text

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=Path("lockgate.yaml"),
    show_default=True,
    envvar="LOCKGATE_CONFIG",
    show_envvar=True,
    help="The configuration file, or the folder that has it.",
)
PIPED_WIDTH = 10_000  # a table is as wide as what is in it, and no wider
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class Screen(Console):
    """Others wrote much of what is shown: a terminal must not obey it, nor show it in another order than it stands."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Before it is measured."""
        return super().render_str(harmless_text(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless_text(segment.text), segment.style)


def console(*, error: bool = False) -> Console:
    """Colours only on a terminal and without NO_COLOR; lines are never broken, nor cells cut short, when the output is read by a program or
    kept in a file."""
    made = Screen(stderr=error, highlight=False)
    made.soft_wrap = not made.is_terminal
    if not made.is_terminal:
        made.width = PIPED_WIDTH
    return made


def print_json(value: Any) -> None:
    click.echo(harmless_json(json.dumps(value, ensure_ascii=False, indent=2)))
