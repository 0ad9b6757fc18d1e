"""Copies of the company's workspace in which something is different."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from examples.halden.demo.company import HERE
from router.yaml_source import read_yaml

NOT_NEEDED = shutil.ignore_patterns("company", "demo", "services", "__pycache__", "state", "*.py", "*_test.rego", "library", "control")
CHANGES = HERE / "company.yaml"


def copied(folder: Path) -> Path:
    """The workspace in `folder`, with the policies that it names beside it."""
    workspace = folder / "examples" / "halden"
    shutil.copytree(HERE, workspace, ignore=NOT_NEEDED)
    shutil.copytree(HERE.parents[1] / "policies", folder / "policies", ignore=NOT_NEEDED)
    return workspace


def changed(workspace: Path, changes: Path = CHANGES) -> None:
    """Puts into each file named in `changes` what it says: a value for each place, whose names have slashes between."""
    for name, told in _read(changes).items():
        file = workspace / name
        written = _read(file)
        for place in told.get("remove", ()):
            *above, last = place.split("/")
            del _within(written, above)[last]
        for place, value in told.get("put", {}).items():
            *above, last = place.split("/")
            _within(written, above)[last] = value
        file.write_text(yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=200), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    """As Lockgate reads it; `${NAME}` stays, for Lockgate itself looks into its environment."""
    document, faults = read_yaml(str(file), file.read_bytes(), None)
    if document is None or faults:
        raise ValueError(os.linesep.join(map(str, faults)))
    return dict(document.value)


def _within(written: dict[str, Any], above: list[str]) -> dict[str, Any]:
    """The mapping at that place. Raises KeyError where the shipped file has no such place any more."""
    for name in above:
        written = written[name]
    return written
