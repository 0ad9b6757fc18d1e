"""The schemas, `lockgate check` and the references need no extra: settings are read without the packages that an adapter runs on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import re, sys
from importlib.metadata import packages_distributions
base, extras = set(sys.argv[1].split(",")), set(sys.argv[2].split(","))
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
owners = packages_distributions()
blocked = {module for module, dists in owners.items() if {plain(each) for each in dists} & extras - base}
class Blocking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked and name not in ("google",):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocking())
from router.cli.schema import reference_files
assert len(reference_files()) >= 3
"""


def named(requirements: list[str]) -> set[str]:
    cut = (each.partition(";")[0].partition("[")[0] for each in requirements)
    return {
        each.replace("_", "-").lower()
        for text in cut
        if (each := "".join(c for c in text.split(">")[0].split("=")[0].split("<")[0]).strip())
    }


def test_settings_are_read_without_any_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = named(project["dependencies"])
    extras = set[str]().union(*(named(each) for each in project["optional-dependencies"].values()))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(sorted(base)), ",".join(sorted(extras))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
