"""What is told of the disk that a node's state is on."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from router.wiring.control import state_disk


def of(folder: Path) -> dict[str, int]:
    workspace: Any = SimpleNamespace(path=lambda written: folder / written, config=SimpleNamespace(state="state"))
    return state_disk(workspace)


def test_it_has_so_many_bytes_and_no_more_are_free(tmp_path: Path) -> None:
    """As the system says of the folder itself, which may be a volume of its own; what is reserved for its administrator is not free."""
    (tmp_path / "state").mkdir()
    told, disk = of(tmp_path), os.statvfs(tmp_path / "state")
    assert told["lockgate.state.capacity"] == disk.f_blocks * disk.f_frsize
    assert 0 < told["lockgate.state.free"] <= disk.f_bfree * disk.f_frsize + (1 << 30)  # others write meanwhile


def test_of_one_that_does_not_say_nothing_is_told(tmp_path: Path) -> None:
    """Neither that it is full nor that it is empty."""
    assert of(tmp_path) == {}
