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
        server.sql("CREATE DATABASE ledger", "CREATE DATABASE subjects", "CREATE ROLE lockgate_node")
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
    assert container["args"] == ["audit", "migrate", "--config", "/etc/lockgate/lockgate.yaml", "--grant-to", "lockgate_node"]
    folder = laid_out(tmp_path, found, {"ledger-url": postgres.url("ledger"), "keys-url": postgres.url("subjects")})
    command = [str(folder / "lockgate.yaml") if each.endswith("lockgate.yaml") else each for each in container["args"]]
    first = cli(*command)
    assert first.returncode == 0, first.stderr
    assert "→" in first.stdout
    granted = "SELECT count(*) FROM pg_class WHERE has_table_privilege('lockgate_node', oid, 'INSERT') AND relkind = 'r'"
    assert int(postgres.sql(granted, database="ledger")) > 20
    again = cli(*command)
    assert again.returncode == 0, again.stderr
    assert "→" not in again.stdout
    assert len(again.stdout.splitlines()) == len(first.stdout.splitlines()) >= 2


def test_the_job_runs_where_nodes_run_and_has_what_they_mount() -> None:
    """On their nodes, with their priority, and with a private authority for the database."""
    found = manifests(values("postgres-gateway"))
    job, nodes = (one(found, kind)["spec"]["template"]["spec"] for kind in ("Job", "Deployment"))
    for key in ("nodeSelector", "tolerations", "priorityClassName", "affinity"):
        assert job[key] == nodes[key]
    corporate = {"name": "corporate-ca", "mountPath": "/etc/corporate", "readOnly": True}
    assert all(corporate in each["containers"][0]["volumeMounts"] for each in (job, nodes))
    assert {"name": "corporate-ca", "configMap": {"name": "corporate-ca"}} in job["volumes"]


def test_nothing_is_granted_unless_somebody_is_named() -> None:
    """Who grants by other means goes on so; and a job does not wait for pods to be near to, of which there may be none yet."""
    given = values("postgres-gateway")
    given["migration"].pop("grantTo")
    given["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
    spec = one(manifests(given), "Job")["spec"]["template"]["spec"]
    assert "--grant-to" not in spec["containers"][0]["args"]
    assert "affinity" not in spec
