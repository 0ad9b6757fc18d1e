"""Model preparation in a process of its own: training takes seconds of CPU and the encoder's memory, which the ledger's process should
not pay. Where the model is there already nothing is started, and no encoder loaded to find that out. Speaks JSON lines on standard output:
`{"step", "done", "total"}` while it works, then `{"model": path or null}` or `{"error"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError, LockgateError
from router.system import loading
from router.wiring.kept_model import find_kept

if TYPE_CHECKING:
    from router.workspace import Snapshot, Workspace

Progress = Callable[[str, int, int], None]


async def prepare_model(snapshot: Snapshot, workspace: Workspace, progress: Progress) -> str | None:
    """The directory of the model that fits exactly this snapshot, trained if need be; None without intents to tell apart. A process
    that is started ends with who waits for it. Raises ConfigError."""
    if not any(intent.examples for intent in workspace.catalog.intents.values()):
        return None
    kept = await asyncio.to_thread(find_kept, workspace)
    if kept is not None:
        return str(kept)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "router.processes.training",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for whoever waits for it, and a hang-up ends nothing
    )
    try:
        told = await _told(child, snapshot.to_bytes(), progress)
    finally:
        if child.returncode is None:  # nobody waits for it any more; what it writes is there whole or not at all
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if "error" in told or "model" not in told:
        raise ConfigError(told.get("error", f"the model could not be prepared (exit status {child.returncode})"))
    model: str | None = told["model"]
    return model


async def _told(child: asyncio.subprocess.Process, snapshot: bytes, progress: Progress) -> dict[str, Any]:
    """The last thing that the process said before it ended."""
    told: dict[str, Any] = {}
    if child.stdin is None or child.stdout is None:
        raise ConfigError("the process that prepares models has no pipes")
    child.stdin.write(snapshot)
    child.stdin.close()  # what it cannot take in because it died shows in its exit status
    async for line in child.stdout:
        told = json.loads(line)
        if "step" in told:
            progress(told["step"], told["done"], told["total"])
    await child.wait()
    return told


def main() -> None:
    with loading():
        from router.wiring.encoder import ensure_model  # the encoder's libraries are loaded in this process only
        from router.workspace import Snapshot, parse

    def tell(**what: Any) -> None:
        print(json.dumps(what), flush=True)  # noqa: T201  # this is the channel

    try:
        workspace = parse(Snapshot.from_bytes(sys.stdin.buffer.read()), os.environ)
        path = ensure_model(workspace, lambda step, done, total: tell(step=step, done=done, total=total))
        tell(model=None if path is None else str(path))
    except LockgateError as error:
        tell(error=str(error))


if __name__ == "__main__":
    main()
