"""Folders in which nothing may be written, as copies are kept for whoever is to look into them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import missing


@contextmanager
def read_only(folder: Path, fill: Callable[[Path], object]) -> Iterator[Path]:
    """What `fill` puts there, on a file system that takes no writes; for who may not mount one, in a folder that is closed to him."""
    folder.mkdir()
    mounted = os.geteuid() == 0
    if mounted:
        _mount("-t", "tmpfs", "-o", "size=64m", "lockgate-test", folder)
    try:
        fill(folder)
        if mounted:
            _mount("-o", "remount,ro", folder)
        else:
            folder.chmod(0o500)
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)  # also where what failed has a file of it open
        else:
            folder.chmod(0o700)


def _mount(*arguments: str | Path) -> None:
    if shutil.which("mount") is None or subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        missing("a file system that takes no writes: this user is root and may not mount one")
