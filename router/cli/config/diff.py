"""`lockgate config diff`: by key, what would change; nothing is taken up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from router.cli.common import config_option, console, json_option, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, trust, url_option
from router.workspace import parse, read
from router.workspace_diff import differences

DIFFERENT = 1


@click.command()
@config_option
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another workspace, instead of what serves.")
@url_option
@key_option("API key with `config.read`; not needed with --against.")
@json_option
def diff(config: Path, against: Path | None, url: str | None, key: str, as_json: bool) -> int:
    """Say what the workspace in the folder would change of the one that serves: by key, defaults included, secrets hidden.

    What serves is asked to look at its own folder, with its own environment. The exit status is 1 where something would change, or would be
    refused.
    """
    if against is None and not key and trust().certificate is None:
        raise click.UsageError("Give --key for what serves, or --against for another workspace.")
    found = _local(against, config) if against is not None else _serving(config, url, key)
    if as_json:
        print_json(found)
    else:
        _show(found["changes"], found["refused"])
    return DIFFERENT if found["changes"] or found["refused"] else 0


def _local(before: Path, after: Path) -> dict[str, Any]:
    """Raises ConfigError."""
    first, second = (read(path, os.environ, override=False) for path in (before, after))
    changes = differences((first, parse(first, os.environ)), (second, parse(second, os.environ)), os.environ)
    return {"before": first.digest, "after": second.digest, "changes": [asdict(each) for each in changes], "refused": []}


def _serving(config: Path, url: str | None, key: str) -> dict[str, Any]:
    return ControlClient(url or control_url(config), key).call("GET", "/v1/config/diff")


def _show(changes: Sequence[Mapping[str, str | None]], refused: Sequence[str]) -> None:
    out = console()
    for each in changes:
        if each["before"] is None:
            out.print(f"+ {each['key']}: {each['after']}", style="green", markup=False)
        elif each["after"] is None:
            out.print(f"- {each['key']}: {each['before']}", style="red", markup=False)
        else:
            out.print(f"~ {each['key']}: {each['before']} -> {each['after']}", style="yellow", markup=False)
    for sentence in refused:
        out.print(f"! {sentence}", style="red", markup=False)
    if not changes and not refused:
        out.print("Nothing would change.", markup=False)
