"""Models that were trained before anybody started here, such as while an image was built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from router.errors import ConfigError

VARIABLE = "LOCKGATE_MODELS"
LANGUAGES = "languages"  # a folder whose files are mapped where they are, and so not taken over


def take_prepared(cache: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Copies what the folder that the environment names has and `cache` lacks. A model is there whole or not at all, and what is there is
    left: each is named by its content, which is looked at when it is loaded. Raises ConfigError."""
    named = environment.get(VARIABLE)
    if not named:
        return
    source = Path(named)
    if not source.is_dir():
        raise ConfigError(
            f"{VARIABLE} names {source}, which is no folder; unset it, or put what `lockgate train` left in state/models there."
        )
    try:
        for found in sorted(source.glob("*/*")):
            if found.parent.name == LANGUAGES:
                continue
            _take(found, cache / found.relative_to(source))
    except OSError as error:
        raise ConfigError(f"The prepared models in {source} cannot be taken over into {cache}: {error.strerror}.") from error


def _take(found: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    arriving = target.with_name(f".{target.name}.{os.getpid()}")
    if found.is_dir():
        shutil.copytree(found, arriving, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(found, arriving)
    arriving.rename(target)
