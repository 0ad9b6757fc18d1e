"""The lockgate.yaml that the chart writes is one that Lockgate takes, and the pod is made for how Lockgate runs."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest

from router.config import Config
from router.processes.reload import refuse_what_needs_a_restart
from router.processes.stopping import STOP_S
from router.telemetry.names import METRICS
from router.workspace import parse, read
from tests.helm.rendering import CASES, CHART, configuration, manifests, of_kind, one, values
from tests.helm.test_manifests import faults, newest


@pytest.mark.parametrize("case", [None, *CASES])
def test_lockgate_takes_the_configuration(case: str | None) -> None:
    """Every key that the chart sets is one that the configuration has, with a value that it takes."""
    config = Config.model_validate(configuration(manifests(values(case) if case else {})))
    assert config.state == "/var/lib/lockgate/state"
    assert str(config.control.listen).startswith("0.0.0.0:")


@pytest.mark.parametrize(
    "doors",
    [
        ("gateway",),
        ("envoy",),
        ("events",),
        ("gateway", "envoy"),
        ("gateway", "decide"),
        ("envoy", "decide"),
        ("gateway", "events", "tiles"),
    ],
)
def test_only_doors_that_are_open_listen(doors: tuple[str, ...]) -> None:
    """On all addresses of the pod; a door that is not open has no listener at all."""
    given: dict[str, Any] = {name: {"enabled": name in doors} for name in ("gateway", "envoy", "decide", "events", "tiles")}
    given |= {"tls": {"source": "secret", "secretName": "t"}, "config": {"events": {"sources": {"shop": {}}}}}
    given |= {"networkPolicy": {name: [{"podSelector": {}}] for name in doors}}
    found = manifests(given)
    config = Config.model_validate(configuration(found))
    listens = {
        "gateway": config.gateway.listen,
        "envoy": config.envoy.listen if config.envoy is not None else None,
        "decide": config.decide.listen if config.decide is not None else None,
        "events": config.events.listen if config.events is not None else None,
        "tiles": config.audit.tiles.listen if config.audit.tiles is not None else None,
    }
    assert {name for name, listen in listens.items() if listen is not None} == set(doors)
    assert all(str(listen).startswith("0.0.0.0:") for listen in listens.values() if listen is not None)
    ports = {name: int(str(listen).rpartition(":")[2]) for name, listen in listens.items() if listen is not None}
    (container,) = one(found, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == ports | {"control": 8081}
    reached = {port["targetPort"] for each in of_kind(found, "Service") for port in each["spec"]["ports"]}
    assert reached == {*ports, "control"}
    assert {port["port"] for rule in one(found, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]} == set(ports)


@pytest.mark.parametrize("name", ["key", "sealing_key"])
def test_a_key_that_is_elsewhere_is_not_beside_a_file(name: str) -> None:
    """A key in a vault is the only one of its name, and the other one stays the Secret's."""
    vault = {"address": "https://vault.example:8200", "token": {"file": "/run/lockgate/secrets/token"}, "key": "ledger"}
    elsewhere = {"vault": vault if name == "key" else {**vault, "wrapped": "/run/lockgate/secrets/wrapped"}}
    given = {"secrets": {"source": "existing", "existing": {"name": "s"}}, "config": {"audit": {"origin": "a.example/l", name: elsewhere}}}
    written = configuration(manifests(given))
    assert written["audit"][name] == elsewhere
    (other,) = {"key", "sealing_key"} - {name}
    assert set(written["audit"][other]) == {"file"}
    assert Config.model_validate(written)


def laid_out(folder: Path, found: list[dict[str, Any]]) -> Path:
    """The workspace's volume as the kubelet makes it: files in a folder with a time for its name, behind two links."""
    (config,) = [
        each for each in of_kind(found, "ConfigMap") if "lockgate.yaml" in each["data"] and each["metadata"]["name"].endswith("gate")
    ]
    spec = one(found, "StatefulSet")["spec"]["template"]["spec"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "workspace"]
    (source,) = volume["projected"]["sources"]
    hidden = folder / "..2026_11_28"
    for item in source["configMap"]["items"]:
        target = hidden / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(config["data"][item["key"]].encode())
    (folder / "..data").symlink_to(hidden.name)
    for top in hidden.iterdir():
        (folder / top.name).symlink_to(Path("..data") / top.name)
    return folder


def test_a_workspace_in_values_is_read_whole(tmp_path: Path) -> None:
    """Catalog and policies come through the ConfigMap's keys and the kubelet's links as they were written, and are in order."""
    given = values("workspace-values-csi")
    workspace = parse(read(laid_out(tmp_path, manifests(given)), os.environ), os.environ)
    assert set(workspace.catalog.intents) == {"read_item"}
    files = {name: text for name, text in given["workspace"]["files"].items() if name.endswith(".rego")}
    assert dict(workspace.policies) == files


@pytest.mark.parametrize(
    "content",
    [
        "package shop\n",
        "package shop",
        "package shop\n\n\n",
        "\n\npackage shop\n",
        "  # indented\npackage shop\n",
        "\t# by a tab\npackage shop\n",
        "package shop\r\n\r\nx := 1\r\n",
        "# <&> \u2028 \u00e4\n",
        "",
    ],
)
@pytest.mark.parametrize("path", ["policies/shop.rego", "1.rego", "true"])
def test_files_in_values_arrive_as_they_were_written(content: str, path: str, tmp_path: Path) -> None:
    """To the last byte, whatever their first line and their line ends; digests and signatures are over bytes."""
    given = values("workspace-values-csi")
    given["workspace"]["files"][path] = content
    assert (laid_out(tmp_path, manifests(given)) / path).read_bytes() == content.encode()


def test_the_charts_configuration_counts_where_a_workspace_has_one() -> None:
    """A ConfigMap made of a whole workspace has its lockgate.yaml, too. Of two sources with one path the kubelet takes the last."""
    found = manifests({"workspace": {"source": "configMap", "configMap": {"name": "shop"}}})
    (volume,) = [each for each in one(found, "StatefulSet")["spec"]["template"]["spec"]["volumes"] if each["name"] == "workspace"]
    named = [each["configMap"]["name"] for each in volume["projected"]["sources"]]
    assert named == ["shop", "demo-lockgate"]


def test_opa_has_a_secret_of_its_own() -> None:
    """Its files and variables, and no mount of Lockgate's; Lockgate has none of OPA's."""
    spec = one(manifests(values("both-vault-opa")), "StatefulSet")["spec"]["template"]["spec"]
    (opa,), (lockgate,) = spec["initContainers"], spec["containers"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in opa["volumeMounts"]}
    assert volumes[mounts["/run/opa/secrets"]]["secret"]["secretName"] == "lockgate-opa"
    assert opa["env"] == [{"name": "POLICIES_HOST", "valueFrom": {"secretKeyRef": {"name": "lockgate-opa", "key": "host"}}}]
    assert {each["name"] for each in opa["volumeMounts"]} & {each["name"] for each in lockgate["volumeMounts"]} == set()


def test_pods_end_later_than_lockgate_does() -> None:
    """The kubelet waits for preStop, and for as long as a node takes to stop, whatever hangs."""
    spec = one(manifests(), "StatefulSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + STOP_S


def test_probes_ask_where_they_are_answered() -> None:
    """The control listener, over TLS where that is; where it wants certificates, of which the kubelet has none, the port for probes."""
    for case, scheme, listener in (
        ("sqlite-gateway", "HTTP", "listen"),
        ("postgres-envoy", "HTTPS", "listen"),
        ("postgres-gateway", "HTTPS", "listen"),
        ("both-vault-opa", "HTTP", "probes"),
    ):
        found = manifests(values(case))
        (workload,) = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        listen = configuration(found)["control"][listener]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert (asked["scheme"], f"0.0.0.0:{ports[asked['port']]}") == (scheme, listen)
            assert asked["path"] == ("/readyz" if probe == "readinessProbe" else "/healthz")


def test_the_control_listener_asks_for_certificates_as_the_values_say() -> None:
    """Of the authorities in the Secret's key that they name."""
    for case, demand, authorities in (("both-vault-opa", "required", "ca.crt"), ("postgres-gateway", "optional", "operators.pem")):
        tls = configuration(manifests(values(case)))["control"]["tls"]
        assert (tls["client_certificates"], tls["client_ca"]) == (demand, f"/run/lockgate/tls/{authorities}")


def test_what_is_scaled_by_is_measured() -> None:
    """The autoscaler's metric is one that Lockgate serves, under its name on Prometheus' page."""
    metrics = one(manifests(values("postgres-gateway")), "HorizontalPodAutoscaler")["spec"]["metrics"]
    named = {each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"}
    assert named == {"lockgate_requests_active"}
    assert named <= {name.replace(".", "_") for name in METRICS}


def state_volume(scratch: dict[str, Any]) -> Any:
    found = manifests(values("postgres-envoy") | {"scratch": scratch})
    (volume,) = [each for each in one(found, "Deployment")["spec"]["template"]["spec"]["volumes"] if each["name"] == "state"]
    assert [fault for version in newest() for each in found if (fault := faults(each, version))] == []
    return {key: value for key, value in volume.items() if key != "name"}


def test_a_state_that_is_not_kept_is_bounded_by_who_wants_it_bounded() -> None:
    """Its indexes grow with the ledger. A limit is one's own choice, and so is a volume that comes and goes with the pod."""
    assert state_volume({}) == {"emptyDir": {}}
    assert state_volume({"state": "40Gi"}) == {"emptyDir": {"sizeLimit": "40Gi"}}
    claim = state_volume({"volume": {"enabled": True, "size": "40Gi", "storageClassName": "fast"}})["ephemeral"]["volumeClaimTemplate"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "40Gi"}},
    }


def restarts(given: dict[str, Any]) -> str:
    spec = one(manifests(given), "StatefulSet")["spec"]["template"]
    found: str = spec["metadata"]["annotations"]["lockgate.example/restarts"]
    return found


@pytest.mark.parametrize(
    ("config", "restarted"),
    [
        ({"classifier": {"min_confidence": 0.9}}, False),
        ({"limits": [{"name": "all", "by": "all", "rate": "10/s"}]}, False),
        ({"gateway": {"on_abstain": "deny"}}, False),
        ({"telemetry": {"sample": 0.5}}, False),
        ({"gateway": {"limits": {"concurrency": 8}}}, True),
        ({"audit": {"origin": "other.example/ledger"}}, True),
        ({"telemetry": {"otlp": "http://collector:4318"}}, True),
        ({"gateway": {"tls": {"certificate": "c", "key": "k"}}}, True),
        ({"events": {"sources": {}}}, True),
        ({"policy": {"bundle": {"from": "https://policies.example.com/b.tar.gz", "unsigned": True}}}, True),
    ],
)
def test_pods_are_replaced_for_what_needs_a_restart_only(config: dict[str, Any], restarted: bool) -> None:
    """What a node takes up while it serves leaves its pod; what it refuses until a restart replaces it."""
    network = {"networkPolicy": {"egress": [{"ports": [{"port": 443}]}]}}
    assert (restarts(network | {"config": config}) != restarts(network)) is restarted


def test_pods_are_replaced_for_another_door_of_events() -> None:
    """Its listener is made at the start alone; so is the tiles'."""
    events: dict[str, Any] = {"config": {"events": {"sources": {"shop": {}}}}}
    ports = [events, events | {"events": {"enabled": True}}, events | {"events": {"enabled": True, "port": 9999}}]
    ports += [ports[1] | {"config": {"events": {"sources": {"shop": {}}, "tls": {"certificate": "c", "key": "k"}}}}]
    ports += [{"tiles": {"enabled": True, "port": port}, "tls": {"insecure": True}} for port in (8084, 8085)]
    assert len({restarts(each) for each in ports}) == len(ports)


def test_what_needs_a_restart_is_what_a_reload_refuses() -> None:
    """A setting that a reload begins to refuse has to replace pods, too."""
    source = inspect.getsource(refuse_what_needs_a_restart)
    refused = {name for text in re.findall(r'"([a-z., ]+)"', source) for name in re.findall(r"[a-z]+(?:\.[a-z]+)?", text)} - {"and"}
    noted = {
        "state",
        "decide",
        "envoy",
        "control",
        "workers",
        "nodes",
        "learning",
        "audit",
        "gateway.listen",
        "gateway.limits",
        "gateway.tls",
        "events.listen",
        "events.tls",
    }
    assert refused == noted | {"policy.bundle", "telemetry.otlp"}
    template = (
        (CHART / "templates" / "_config.tpl").read_text(encoding="utf-8").partition('define "lockgate.restarts"')[2].partition("define")[0]
    )
    assert [name for name in refused if f'"{name.rpartition(".")[2]}"' not in template] == []


def test_secrets_are_read_where_they_are_mounted() -> None:
    """Every file that the configuration names below /run is below a mount of the container, or put there by Vault's agent."""
    for case in CASES:
        found = manifests(values(case))
        (workload,) = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
        template = workload["spec"]["template"]
        mounts = {each["mountPath"] for each in template["spec"]["containers"][0]["volumeMounts"]}
        mounts |= {value for key, value in template["metadata"]["annotations"].items() if key.endswith("secret-volume-path")}
        wanted = {path for path in _texts(configuration(found)) if path.startswith("/run/")}
        assert {path for path in wanted if path.rpartition("/")[0] not in mounts} == set(), case


def _texts(node: Any) -> list[str]:
    if isinstance(node, dict | list):
        return [text for each in (node.values() if isinstance(node, dict) else node) for text in _texts(each)]
    return [node] if isinstance(node, str) else []
