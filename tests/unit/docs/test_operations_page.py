"""The operations page names the settings, files and places that the code has."""

from __future__ import annotations

import inspect
import re

from adapters.sqlite import place as sqlite_place
from router.processes import reload
from router.wiring import identity, questions, reviews
from tests.unit.docs.pages import page, section

PAGE = page("operations.md")


def test_everything_that_needs_a_restart_is_named() -> None:
    """Settings that a reload refuses are in the section about reloading."""
    source = inspect.getsource(reload.refuse_what_needs_a_restart)
    settings = {name for text in re.findall(r'"([a-z., ]+)"', source) for name in re.findall(r"[a-z]+(?:\.[a-z]+)?", text)} - {"and"}
    assert len(settings) > 5
    assert [name for name in sorted(settings) if f"`{name}`" not in section(PAGE, "Reload")] == []


def test_every_file_of_the_state_is_in_the_table() -> None:
    """Whoever makes a backup finds each file and what its loss means."""
    modules = (sqlite_place, questions, identity, reviews)
    files = {value for module in modules for name, value in vars(module).items() if name.endswith("_FILE") and isinstance(value, str)}
    assert files >= {"ledger.sqlite", "keys.sqlite", "index.sqlite"}
    assert [file for file in sorted(files) if f"| `{file}` |" not in section(PAGE, "Files")] == []


def test_the_start_tells_the_order_of_the_code() -> None:
    """The steps that the control process numbers are told, first to last."""
    told = section(PAGE, "Start, stop, drain")
    places = [told.index(word) for word in ("workspace", "ledger", "`started`", "workers", "model", "configuration", "control API")]
    assert places == sorted(places)
