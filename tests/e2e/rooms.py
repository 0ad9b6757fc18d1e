"""The workspace that `lockgate init` makes, served, with the example service beside it; both set up as their pages say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.halden.demo.company import free_ports
from tests.e2e.processes import ROOT, Process, until
from tests.e2e.running import cli, listens
from tests.e2e.wire import ask
from tests.forked import Forked

NAMES = ("gateway", "control", "decide", "rooms")


@dataclass(frozen=True, slots=True)
class Rooms:
    """`environment` is what the service is configured by."""

    ports: Mapping[str, int]
    workspace: Path
    environment: Mapping[str, str]
    lockgate: Process
    service: Process


@contextmanager
def rooms(folder: Path) -> Iterator[Rooms]:
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    place = _made(folder, ports)
    try:
        place.lockgate.start()
        until(lambda: listens(ports["control"]) and ask(ports["control"], "GET", "/readyz").status == 200, "Lockgate was ready", 120)
        place.service.start()
        until(lambda: listens(ports["rooms"]), f"the service listened; it said:\n{place.service.said}")
        yield place
    finally:
        place.service.kill()
        place.lockgate.kill()


def _made(folder: Path, ports: Mapping[str, int]) -> Rooms:
    workspace = folder / "workspace"
    assert cli("init", str(workspace)).returncode == 0
    config = workspace / "lockgate.yaml"
    text = config.read_text()
    for name, usual in (("gateway", 8080), ("control", 8081), ("decide", 8082)):
        text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{ports[name]}")
    config.write_text(text)
    environment = {
        "LOCKGATE_URL": f"http://127.0.0.1:{ports['decide']}",
        "LOCKGATE_KEY": _key(workspace, "rooms", "decide", "delegate"),
        "LOCKGATE_CONTROL_URL": f"http://127.0.0.1:{ports['control']}",
        "LOCKGATE_CONTROL_KEY": _key(workspace, "rooms-evidence", "control:evidence.write", "control:reviews.follow"),
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "examples.rooms.app:from_environment", "--port", str(ports["rooms"])]
    path = {"PYTHONPATH": f"{ROOT / 'sdk'}:{ROOT}"}
    lockgate = Forked(("serve",), folder / "lockgate.log", {}, workspace)
    return Rooms(ports, workspace, environment, lockgate, Process(command, folder / "rooms.log", {**environment, **path}, folder))


def _key(workspace: Path, name: str, *scopes: str) -> str:
    options = [part for scope in scopes for part in ("--scope", scope)]
    done = cli("keys", "create", "--name", name, "--subject", "rooms", "--type", "service", *options, folder=workspace)
    assert done.returncode == 0, done.stderr
    return next(word for word in done.stdout.split() if word.startswith("lgk_"))
