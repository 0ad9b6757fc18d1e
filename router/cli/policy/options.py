"""What the commands share: which policies are meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from router.faults import Fault

folder_argument = click.argument("folder", required=False, type=click.Path(path_type=Path))
data_option = click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Data in place of the folder's data.yaml.")


def faults_json(faults: Iterable[Fault]) -> list[dict[str, object]]:
    return [{"file": each.file, "line": each.line, "sentence": each.sentence} for each in faults]


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"
