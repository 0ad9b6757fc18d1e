"""`lockgate config diff` about a Lockgate that serves, and about two folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.e2e.running import Lockgate, cli
from tests.e2e.yard import load, save


def test_what_a_reload_would_change_is_told_and_not_done(prepare: Callable[..., Lockgate], tmp_path: Path) -> None:
    """By key, and with what needs a restart; the folder's faults instead where it has some."""
    lockgate = prepare()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(lockgate.yard.folder, elsewhere, ignore=shutil.ignore_patterns("state", "elsewhere", "*.log"))
    lockgate.start()

    def diff(*more: str) -> tuple[int, str]:
        ended = cli("config", "diff", "--config", str(lockgate.yard.config), *more)
        return ended.returncode, ended.stdout

    asked = ("--key", lockgate.keys["root"])
    assert diff(*asked) == (0, "Nothing would change.\n")
    settings = load(lockgate.yard.config)
    settings["workers"] = 3
    settings["gateway"]["deny"] = ["10.0.0.0/8"]
    save(lockgate.yard.config, settings)
    status, said = diff(*asked)
    assert status == 1
    assert said.splitlines()[:2] == ['~ gateway.deny: [] -> ["10.0.0.0/8"]', "~ workers: 1 -> 3"]
    assert "! A change of workers needs a restart" in said
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    status, said = diff("--against", str(elsewhere), "--json")
    assert (status, [each["key"] for each in json.loads(said)["changes"]]) == (1, ["gateway.deny", "workers"])
    lockgate.yard.config.write_text("version: 1\ngatewy: {}\n")
    found = lockgate.control("GET", "/v1/config/diff").json
    assert (found["changes"], len(found["refused"])) == ([], 1)
    assert "gatewy" in found["refused"][0]
