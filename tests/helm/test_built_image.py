"""The image that `make image` left here, run as the chart runs it: read-only, as nobody, with the configuration that the chart writes.
Skipped where none was built, which takes root and Debian's archive; where nothing may be missing, they fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from packaging.markers import Marker

from examples.halden.demo.company import free_ports
from tests.e2e.processes import until
from tests.e2e.running import listens
from tests.e2e.wire import ask
from tests.helm.rendering import ROOT, manifests, of_kind

ARCHIVES = sorted((ROOT / "dist").glob("lockgate-*.oci.tar"))
NOTHING_MISSING = bool(os.environ.get("LOCKGATE_NOTHING_MISSING"))
TRY = [sys.executable, str(ROOT / "image" / "try.py")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ARCHIVES or NOTHING_MISSING), reason="no image was built: `make image`"),
    pytest.mark.skipif(os.geteuid() != 0 and not NOTHING_MISSING, reason="mounting needs root"),
]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A folder with the chart's lockgate.yaml for all doors, and their ports."""
    ports = dict(zip(("gateway", "control", "envoy", "decide"), free_ports(4), strict=True))
    folder = tmp_path_factory.mktemp("config")
    config = {"policy": {"engine": {"adapter": "isolated"}}, "classifier": {"min_confidence": 0.7}}
    doors = {name: {"port": port} | ({"enabled": True} if name != "control" else {}) for name, port in ports.items()}
    found = of_kind(manifests({**doors, "tls": {"insecure": True}, "config": config}), "ConfigMap")
    folder.chmod(0o755)  # it is not root who reads it
    (folder / "lockgate.yaml").write_text(found[0]["data"]["lockgate.yaml"], encoding="utf-8")
    return folder, ports


@pytest.fixture(scope="module")
def serving(configured: tuple[Path, dict[str, int]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, int], Path]]:
    folder, ports = configured
    log = tmp_path_factory.mktemp("log") / "log"
    arguments = ["--config", str(folder), str(ARCHIVES[-1]), "serve", "--config", "/etc/lockgate/lockgate.yaml", "--log", "json"]
    with log.open("wb") as out:
        running = subprocess.Popen([*TRY, *arguments], stdout=out, stderr=out)
    try:
        until(lambda: running.poll() is not None or listens(ports["control"]), "the image serves", 120)
        assert running.poll() is None, log.read_text(encoding="utf-8")
        yield ports, log
    finally:
        running.terminate()
        assert running.wait(60) == 0, log.read_text(encoding="utf-8")


def test_nothing_in_it_runs_a_shell_or_installs() -> None:
    """No shell, no package manager, no compiler, no setuid file; one user, who is nobody."""
    names, special = set(), []
    with tarfile.open(ARCHIVES[-1]) as archive:
        for member in archive:
            if member.size > 1 << 20:
                with tarfile.open(fileobj=archive.extractfile(member)) as layer:
                    for each in layer:
                        names.add(each.name.removeprefix("./"))
                        special += [each.name] if each.mode & 0o6000 else []
    programs = {Path(name).name for name in names if Path(name).parent.name in ("bin", "sbin")}
    assert programs == {"python3", "python3.11", "lockgate"}
    assert special == []
    assert not any("/site-packages/pip/" in name or "/dist-packages/pip/" in name for name in names)


def test_it_holds_what_the_list_says() -> None:
    """Its packages are those of the lock that `make sbom` lists and `make audit-dependencies` asks about, in their versions; no other."""
    found = set()
    with tarfile.open(ARCHIVES[-1]) as archive:
        for member in archive:
            if member.size > 1 << 20:
                with tarfile.open(fileobj=archive.extractfile(member)) as layer:
                    found |= set(re.findall(r"/([^/\n]+)\.dist-info/METADATA$", "\n".join(layer.getnames()), re.M))
    ours = ("lockgate-", "lockgate_minilm-")
    installed = {re.sub(r"[-_.]+", "-", each).lower() for each in found if not each.startswith(ours)}
    locked = {re.sub(r"[-_.]+", "-", f"{name}-{version}").lower() for name, version, _ in locked_packages()}
    assert installed <= locked
    assert {each.rsplit("-", 3)[0] for each in locked - installed} == {"hf-xet"}  # a faster download, which `image/prepare.py` takes out


def locked_packages() -> list[tuple[str, str, str]]:
    """Name, version and marker of what the lock has for Linux."""
    text = (ROOT / "requirements" / "image.lock").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: ; ([^\\\n]*))?", text, re.M)
    return [each for each in found if not each[2] or Marker(each[2].strip()).evaluate()]


def test_its_workspace_is_in_order() -> None:
    """`lockgate check`, which is what the build asked, too."""
    done = subprocess.run(
        [*TRY, str(ARCHIVES[-1]), "check", "--config", "/workspace"], capture_output=True, text=True, timeout=120, check=False
    )
    assert "The workspace is in order." in done.stdout, done.stderr


def test_it_serves_read_only_with_the_charts_configuration(serving: tuple[dict[str, int], Path]) -> None:
    """Ready with confined policies, as the user that the chart names; a caller without a credential is told so at each door."""
    ports, _ = serving
    assert until(lambda: ask(ports["control"], "GET", "/readyz").status == 200, "it is ready", 60)
    assert ask(ports["gateway"], "GET", "/rooms").code == "credential_missing"
    assert ask(ports["decide"], "POST", "/v1/decide", body={"method": "GET", "path": "/"}).code == "credential_missing"


def test_envoys_door_is_in_it(serving: tuple[dict[str, int], Path]) -> None:
    """Its packages are there, and its health is gRPC's own."""
    ports, _ = serving
    with grpc.insecure_channel(f"127.0.0.1:{ports['envoy']}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_it_trains_nothing_at_its_start(serving: tuple[dict[str, int], Path]) -> None:
    """The model was prepared while it was built."""
    assert "cross-validate" not in serving[1].read_text(encoding="utf-8")
