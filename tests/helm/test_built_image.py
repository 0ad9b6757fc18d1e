"""The image that `make image` left here, run as the chart runs it: read-only, as nobody, with the configuration that the chart writes.
Skipped where none was built: that takes minutes, root, and Debian's archive."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import until
from tests.e2e.running import listens
from tests.e2e.wire import ask
from tests.helm.rendering import ROOT, manifests, of_kind

ARCHIVES = sorted((ROOT / "dist").glob("lockgate-*.oci.tar"))
TRY = [sys.executable, str(ROOT / "image" / "try.py")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ARCHIVES, reason="no image was built: `make image`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """A folder with the chart's lockgate.yaml, and the ports of the gateway and of the control API."""
    gateway, control = free_ports(2)
    folder = tmp_path_factory.mktemp("config")
    config = {"policy": {"engine": {"adapter": "isolated"}}, "classifier": {"min_confidence": 0.7}}
    found = of_kind(manifests({"gateway": {"port": gateway}, "control": {"port": control}, "config": config}), "ConfigMap")
    folder.chmod(0o755)  # it is not root who reads it
    (folder / "lockgate.yaml").write_text(found[0]["data"]["lockgate.yaml"], encoding="utf-8")
    return folder, gateway, control


@pytest.fixture(scope="module")
def serving(configured: tuple[Path, int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    folder, gateway, control = configured
    log = tmp_path_factory.mktemp("log") / "log"
    arguments = ["--config", str(folder), str(ARCHIVES[-1]), "serve", "--config", "/etc/lockgate/lockgate.yaml", "--log", "json"]
    with log.open("wb") as out:
        running = subprocess.Popen([*TRY, *arguments], stdout=out, stderr=out)
    try:
        until(lambda: running.poll() is not None or listens(control), "the image serves", 120)
        assert running.poll() is None, log.read_text(encoding="utf-8")
        yield gateway, control, log
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


def test_its_workspace_is_in_order() -> None:
    """`lockgate check`, which is what the build asked, too."""
    done = subprocess.run(
        [*TRY, str(ARCHIVES[-1]), "check", "--config", "/workspace"], capture_output=True, text=True, timeout=120, check=False
    )
    assert "The workspace is in order." in done.stdout, done.stderr


def test_it_serves_read_only_with_the_charts_configuration(serving: tuple[int, int, Path]) -> None:
    """Ready with confined policies, as the user that the chart names; a caller without a credential is told so."""
    gateway, control, _ = serving
    assert until(lambda: ask(control, "GET", "/readyz").status == 200, "it is ready", 60)
    assert ask(gateway, "GET", "/rooms").code == "credential_missing"


def test_it_trains_nothing_at_its_start(serving: tuple[int, int, Path]) -> None:
    """The model was prepared while it was built."""
    assert "cross-validate" not in serving[2].read_text(encoding="utf-8")
