"""The migration's command, with the configuration and the secrets that its Job has, against a real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import cli
from tests.helm.rendering import manifests, of_kind, one, values
from tests.postgres_server import PostgresServer, running


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running() as server:
        server.sql("CREATE DATABASE ledger", "CREATE DATABASE subjects")
        yield server


def laid_out(folder: Path, found: list[dict[str, Any]], urls: dict[str, str]) -> Path:
    """The Job's volumes in one folder: its workspace from the release's values, its secrets as files, its state. Paths are the only thing
    that is changed."""
    (config,) = [each["data"] for each in of_kind(found, "ConfigMap") if each["metadata"]["name"].endswith("-migration")]
    (volume,) = [each for each in one(found, "Job")["spec"]["template"]["spec"]["volumes"] if each["name"] == "workspace"]
    for item in volume["projected"]["sources"][0]["configMap"]["items"]:
        target = folder / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"/(run|var/lib)/lockgate", str(folder), config[item["key"]]), encoding="utf-8")
    (folder / "secrets").mkdir()
    for name, url in urls.items():
        (folder / "secrets" / name).write_text(url, encoding="utf-8")
    return folder


def test_the_job_makes_the_tables_and_may_come_again(tmp_path: Path, postgres: PostgresServer) -> None:
    """The first install makes the tables of ledger, keys and nodes; an upgrade with the same format changes nothing. No key is needed."""
    given = values("postgres-gateway")
    given["workspace"] = values("workspace-values-csi")["workspace"]
    found = manifests(given)
    (container,) = one(found, "Job")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["audit", "migrate", "--config", "/etc/lockgate/lockgate.yaml"]
    folder = laid_out(tmp_path, found, {"ledger-url": postgres.url("ledger"), "keys-url": postgres.url("subjects")})
    first = cli("audit", "migrate", "--config", str(folder / "lockgate.yaml"))
    assert first.returncode == 0, first.stderr
    assert "→" in first.stdout
    again = cli("audit", "migrate", "--config", str(folder / "lockgate.yaml"))
    assert again.returncode == 0, again.stderr
    assert "→" not in again.stdout
    assert len(again.stdout.splitlines()) == len(first.stdout.splitlines()) >= 2
