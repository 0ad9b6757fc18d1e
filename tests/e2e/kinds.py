"""A yard whose service is a destination of another kind than HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, listens, prepared
from tests.e2e.yard import load, save


@contextmanager
def behind(
    folder: Path, peer: Process, port: int, settings: Mapping[str, Any], files: Mapping[str, bytes] | None = None
) -> Iterator[Lockgate]:
    """Lockgate, ready, with the peer behind it. `files` lie in the workspace."""
    with prepared(folder) as lockgate:
        place = lockgate.yard.folder
        catalog = load(place / "catalog.yaml")
        catalog["destinations"]["service"] = dict(settings)
        save(place / "catalog.yaml", catalog)
        for name, content in (files or {}).items():
            (place / name).write_bytes(content)
        try:
            peer.start()
            until(lambda: listens(port), f"the peer listened; it said:\n{peer.said}")
            lockgate.start()
            yield lockgate
        finally:
            peer.kill()
