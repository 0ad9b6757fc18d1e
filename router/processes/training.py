"""Model preparation in a process of its own: training takes seconds of CPU and the encoder's memory, which the ledger's process should
not pay. Speaks JSON lines on standard output: `{"step", "done", "total"}` while it works, then `{"model": path or null}` or `{"error"}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from router.errors import ConfigError, LockgateError

Progress = Callable[[str, int, int], None]


async def prepare_model(config: Path, progress: Progress) -> str | None:
    """The directory of the model that fits the workspace, trained if need be. Raises ConfigError."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "router.processes.training", str(config), stdout=asyncio.subprocess.PIPE
    )
    told: dict[str, Any] = {}
    if child.stdout is not None:
        async for line in child.stdout:
            told = json.loads(line)
            if "step" in told:
                progress(told["step"], told["done"], told["total"])
    await child.wait()
    if "error" in told or "model" not in told:
        raise ConfigError(told.get("error", f"the model could not be prepared (exit status {child.returncode})"))
    model: str | None = told["model"]
    return model


def main(config: str) -> None:
    from router.wiring.encoder import ensure_model  # the encoder's libraries are loaded in this process only
    from router.workspace import parse, read

    def tell(**what: Any) -> None:
        print(json.dumps(what), flush=True)  # noqa: T201  # this is the channel

    try:
        workspace = parse(read(Path(config), os.environ), os.environ)
        path = ensure_model(workspace, lambda step, done, total: tell(step=step, done=done, total=total))
        tell(model=None if path is None else str(path))
    except LockgateError as error:
        tell(error=str(error))


if __name__ == "__main__":
    main(sys.argv[1])
