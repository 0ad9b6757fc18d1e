"""Values that the chart refuses, each in one sentence that says what to do; and that every value is documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from router.processes.stopping import STOP_S
from tests.helm.rendering import CASES, CHART, rendered, values

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
UNREACHED: dict[str, Any] = {"store": {"kind": "postgres"}, "secrets": {"source": "existing", "existing": {"name": "s"}}}
POSTGRES = UNREACHED | {"networkPolicy": {"postgres": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]}}
ELSEWHERE = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]}
EVENTS: dict[str, Any] = {"events": {"enabled": True}, "config": {"events": {"sources": {"shop": {}}}}}
SERVED = {"services": {"policies": {"url": "https://policies.example.com"}}, "bundles": {"lockgate": {"service": "policies"}}}
OPA: dict[str, Any] = {"enabled": True, "image": {"tag": "1.20.0"}, "config": SERVED}
VAULT: dict[str, Any] = {
    "secrets": {
        "source": "vault",
        "vault": {"role": "r", "files": {name: {"secret": "kv/l", "template": "t"} for name in ("ledger.key", "sealing.key")}},
    },
    "networkPolicy": {"egress": [ELSEWHERE]},
}
EXTERNAL: dict[str, Any] = {"source": "externalSecret", "externalSecret": {"store": {"name": "v"}, "data": {"ledger.key": {"key": "l"}}}}
CATALOG = {"catalog.yaml": "x", "policies/a.rego": "package lockgate.a"}
ENVOY: dict[str, Any] = {"envoy": {"enabled": True}, "tls": {"source": "secret", "secretName": "t"}}
SHAPES = {
    "an unknown key": ({"replica": 2}, "replica"),
    "an unknown key below": ({"gateway": {"prot": 8080}}, "prot"),
    "a wrong type": ({"replicas": "two"}, "replicas"),
    "no replicas": ({"replicas": 0}, "replicas"),
    "a privileged port": ({"gateway": {"port": 80}}, "port"),
    "the tag latest": ({"image": {"tag": "latest"}}, "tag"),
    "a digest that is none": ({"image": {"digest": "sha256:12"}}, "digest"),
    "an unknown store": ({"store": {"kind": "mysql"}}, "kind"),
    "no limits": ({"resources": {"limits": None}}, "limits"),
    "a peer that names nobody": ({"networkPolicy": {"gateway": [{}]}}, "gateway"),
    "a peer of another form": ({"networkPolicy": {"gateway": [{"cidr": "10.0.0.0/8"}]}}, "cidr"),
    "a path that leaves the workspace": ({"workspace": {"files": {"../x": ""}}}, "../x"),
    "a key's path that leaves the workspace": ({"workspace": {"configMap": {"items": {"x": "../x"}}}}, "../x"),
    "a body mode that passes bodies on unjudged": ({"gatewayApi": {"extProc": {"requestBody": "Streamed"}}}, "requestBody"),
    "a section that is none": ({"config": {"policy": "policies"}}, "config"),
    "a part of a section that is none": ({"config": {"policy": {"bundle": "policies.tar.gz"}}}, "bundle"),
    "several catalogs": ({"config": {"catalog": ["a.yaml"]}}, "catalog"),
    "a grace shorter than the drain": ({"drain": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds"),
}
SENTENCES = {
    "no door": ({"gateway": {"enabled": False}}, "No door is open"),
    "SQLite on several nodes": ({"replicas": 2}, "SQLite keeps the ledger of one node"),
    "SQLite that scales": ({"hpa": {"enabled": True}}, "SQLite keeps the ledger of one node"),
    "PostgreSQL without a URL": ({"store": {"kind": "postgres"}}, "needs ledger-url"),
    "nodes with keys of their own": (POSTGRES | {"secrets": {**POSTGRES["secrets"], "keys": False}}, "share its keys"),
    "Envoy's door with two workers": (ENVOY | {"workers": 2}, "set workers to 1"),
    "Envoy's door in the clear": ({"envoy": {"enabled": True}}, "Envoy's door would be unencrypted"),
    "the control API in the clear": ({"networkPolicy": {"control": [{"podSelector": {}}]}}, "API keys unencrypted"),
    "no policy and no certificate": ({"networkPolicy": {"enabled": False}}, "Without a network policy"),
    "a certificate without a Secret": ({"tls": {"source": "secret"}}, "needs tls.secretName"),
    "a certificate without an issuer": ({"tls": {"source": "certManager"}}, "issuerRef.name"),
    "a Secret without a name": ({"secrets": {"source": "existing"}}, "needs secrets.existing.name"),
    "External Secrets without a store": ({"secrets": {"source": "externalSecret"}}, "externalSecret.store.name"),
    "a CSI volume of nobody": ({"secrets": {"source": "csi"}}, "secrets.csi.className"),
    "Vault without a role": ({"secrets": {"source": "vault"}}, "secrets.vault.role"),
    "variables of a CSI volume": ({"secrets": {"source": "csi", "csi": {"className": "c"}, "env": {"A": "a"}}}, "secrets.env"),
    "values without a catalog": ({"workspace": {"source": "values"}}, "needs the catalog"),
    "two configurations": (
        {"workspace": {"source": "values", "files": {"catalog.yaml": "x", "lockgate.yaml": "version: 1"}}},
        "workspace.files has lockgate.yaml",
    ),
    "two files of one key": (
        {"workspace": {"source": "values", "files": {"catalog.yaml": "x", "a..b": "", "a/b": ""}}},
        "workspace.files has a..b and a/b",
    ),
    "two doors on one port": (
        EVENTS | {"events": {"enabled": True, "port": 8080}},
        "Port 8080 of the pod would be for gateway and for events",
    ),
    "probes on a door's port": (
        EVENTS
        | {
            "events": {"enabled": True, "port": 8085},
            "control": {"clientCertificates": "required"},
            "tls": {"source": "secret", "secretName": "t"},
        },
        "Port 8085 of the pod would be for events and for probes",
    ),
    "a door on OPA's port": ({"decide": {"enabled": True, "port": 8282}, "opa": OPA}, "for decide and for the health of OPA"),
    "two doors on one port of a Service": (EVENTS | {"service": {"gatewayPort": 8083}}, "service.gatewayPort is events.port"),
    "one name for all nodes": ({"env": {"LOCKGATE_NODE": "one"}}, "env.LOCKGATE_NODE is set by the chart"),
    "a variable of two values": (
        {"env": {"A": "x"}, "secrets": {"source": "existing", "existing": {"name": "s"}, "env": {"A": "a"}}},
        "env and secrets.env both have A",
    ),
    "a bundle that OPA would not see": (
        {"opa": OPA, "config": {"policy": {"bundle": {"from": "policies.tar.gz"}}}},
        "leave config.policy.bundle out",
    ),
    "a file that is a folder": (
        {"workspace": {"source": "values", "files": CATALOG | {"policies/a.rego/b": ""}}},
        "workspace.files has policies/a.rego/b, where policies/a.rego is a file",
    ),
    "a folder where the configuration is": (
        {"workspace": {"source": "values", "files": CATALOG | {"lockgate.yaml/b": ""}}},
        "workspace.files has lockgate.yaml/b",
    ),
    "a workspace without policies": (
        {"workspace": {"source": "values", "files": {"catalog.yaml": "x", "rules/a.rego": "x", "policies/data.yaml": "x"}}},
        "needs policies in workspace.files, below policies",
    ),
    "a ConfigMap's own configuration": (
        {"workspace": {"source": "configMap", "configMap": {"name": "w", "items": {"lockgate.yaml": "lockgate.yaml"}}}},
        "workspace.configMap.items has lockgate.yaml",
    ),
    "two keys for one file": (
        {"workspace": {"source": "configMap", "configMap": {"name": "w", "items": {"a": "catalog.yaml", "b": "catalog.yaml"}}}},
        "workspace.configMap.items has a and b for one file (catalog.yaml)",
    ),
    "an OPA without policies": ({"opa": OPA | {"config": {}}}, "opa.enabled needs opa.config with bundles, or discovery"),
    "a server of bundles behind a closed network": (
        {"config": {"policy": {"bundle": {"from": "oci://registry.example/policies:live"}}}},
        "The network policy lets nobody reach the server of config.policy.bundle",
    ),
    "a collector behind a closed network": (
        {"config": {"telemetry": {"otlp": "https://collector.example:4318"}}},
        "lets nobody reach what config.telemetry.otlp names: name it in networkPolicy.egress",
    ),
    "limits on a server behind a closed network": (
        {"config": {"shared_state": {"adapter": "redis", "url": "redis://redis.example:6379/0"}}},
        "lets nobody reach what config.shared_state names",
    ),
    "secrets in a vault behind a closed network": (
        {"config": {"secrets": {"vault": {"address": "https://vault.example:8200"}}}},
        "lets nobody reach what config.secrets.vault names",
    ),
    "OPA's server behind a closed network": ({"opa": OPA}, "lets OPA reach none of opa.config.services"),
    "OPA's variables of nobody": ({"opa": OPA | {"secrets": {"env": {"A": "a"}}}}, "opa.secrets.env takes variables from a Secret"),
    "OPA's files of nobody": (
        {"opa": OPA | {"config": SERVED | {"keys": {"k": {"key": "/run/opa/secrets/k"}}}}},
        "opa.config names a file in /run/opa/secrets",
    ),
    "the ledger's keys for OPA": (
        {"opa": OPA | {"secrets": {"name": "s"}}, "secrets": {"source": "existing", "existing": {"name": "s"}}},
        "give OPA one of its own",
    ),
    "a Vault that nobody reaches": (VAULT | {"networkPolicy": {}}, "lets nobody reach Vault"),
    "a file of Vault's without its value": (
        VAULT | {"secrets": {"source": "vault", "vault": {"role": "r", "files": {"ledger.key": {"secret": "kv/l"}}}}},
        "secrets.vault.files.ledger.key needs a template",
    ),
    "a key that Vault is not asked for": (
        VAULT | {"secrets": {"source": "vault", "vault": {"role": "r", "files": {"ledger.key": {"secret": "kv/l", "template": "t"}}}}},
        "secrets.vault.files does not have sealing.key",
    ),
    "a key that is in no store": ({"secrets": EXTERNAL}, "secrets.externalSecret.data does not have sealing.key"),
    "a variable that is in no store": (
        {"secrets": EXTERNAL | {"env": {"LLM_KEY": "llm-key"}}},
        "secrets.env.LLM_KEY is llm-key, which secrets.externalSecret.data does not have",
    ),
    "a file of a Secret that is none": (
        {
            "config": {"shared_state": {"adapter": "redis", "url": {"file": "/run/lockgate/secrets/redis-url"}}},
            "networkPolicy": {"egress": [ELSEWHERE]},
        },
        "names /run/lockgate/secrets/redis-url, and secrets.source none puts nothing there",
    ),
    "a certificate that is none": (
        {"config": {"gateway": {"tls": {"certificate": "/run/lockgate/tls/tls.crt", "key": "/run/lockgate/tls/tls.key"}}}},
        "names a certificate in /run/lockgate/tls, and tls.source none puts none there",
    ),
    "a ConfigMap without a name": ({"workspace": {"source": "configMap"}}, "workspace.configMap.name"),
    "a migration of SQLite": ({"migration": {"enabled": True, "existingSecret": "o"}}, "store.kind postgres"),
    "a migration by nobody": (POSTGRES | {"migration": {"enabled": True}}, "migration.existingSecret"),
    "a grace shorter than preStop and drain": ({"drain": {"preStopSeconds": 60}}, f"to {60 + STOP_S:g} or more"),
    "OPA of any version": ({"opa": {"enabled": True}}, "opa.image.tag"),
    "two engines": (
        {"opa": {"enabled": True, "image": {"tag": "1.20.0"}}, "config": {"policy": {"engine": {"adapter": "isolated"}}}},
        "policy.engine",
    ),
    "nothing to scale by": (POSTGRES | {"hpa": {"enabled": True, "cpu": None}}, "hpa.cpu or hpa.active"),
    "fewer at most than at least": (POSTGRES | {"hpa": {"enabled": True, "minReplicas": 20}}, "larger than hpa.maxReplicas"),
    "ext_proc without its door": ({"gatewayApi": {"extProc": {"enabled": True, "targetRefs": [{"name": "x"}]}}}, "envoy.enabled"),
    "ext_authz for nobody": (ENVOY | {"gatewayApi": {"extAuth": {"enabled": True}}}, "needs targetRefs"),
    "ext_proc that gives up too early": (
        ENVOY | {"gatewayApi": {"extProc": {"enabled": True, "targetRefs": [{"name": "x"}], "messageTimeout": "2s"}}},
        "gatewayApi.extProc.messageTimeout (2s) must be longer than config.envoy.deadline (2s)",
    ),
    "ext_authz that shows no more than is judged": (
        ENVOY | {"gatewayApi": {"extAuth": {"enabled": True, "targetRefs": [{"name": "x"}], "maxRequestBytes": 65536}}},
        "set it to 65537 or more",
    ),
    "a route of no gateway": ({"gatewayApi": {"httpRoute": {"enabled": True}}}, "needs parentRefs"),
    "events of nobody": ({"events": {"enabled": True}}, "needs config.events.sources"),
    "events' address": ({"config": {"events": {"listen": "0.0.0.0:8083"}}}, "config.events.listen is set by the chart"),
    "tiles in the clear": ({"tiles": {"enabled": True}}, "tiles.enabled would take API keys unencrypted"),
    "tiles on no port": ({"config": {"audit": {"tiles": {"public": True}}}}, "set tiles.enabled"),
    "tiles' address": (
        {"tiles": {"enabled": True}, "tls": {"insecure": True}, "config": {"audit": {"tiles": {"listen": "0.0.0.0:1"}}}},
        "config.audit.tiles.listen is set by the chart",
    ),
    "TLS to nowhere": ({"gatewayApi": {"backendTls": {"enabled": True}}}, "backendTls needs"),
    "TLS to a door without it": (
        {"tls": {"source": "secret", "secretName": "t"}, "gatewayApi": {"backendTls": {"enabled": True, "caConfigMap": "c"}}},
        "set envoy.enabled, or config.gateway.tls",
    ),
    "certificates in the clear": ({"control": {"clientCertificates": "required"}}, "needs tls.source"),
    "metrics without a certificate": (
        {
            "control": {"clientCertificates": "required"},
            "tls": {"source": "secret", "secretName": "t"},
            "monitoring": {"serviceMonitor": {"enabled": True, "credentials": {"secretName": "m"}}},
        },
        "clientCertificate.secretName",
    ),
    "metrics for nobody": ({"monitoring": {"serviceMonitor": {"enabled": True}}}, "metrics.read"),
    "a database that nobody reaches": (UNREACHED, "name it in networkPolicy.postgres"),
    "a database that egress does not name": (UNREACHED | {"networkPolicy": {"egress": [ELSEWHERE]}}, "name it in networkPolicy.postgres"),
    "a database that the migration does not reach": (
        UNREACHED
        | {
            "migration": {"enabled": True, "existingSecret": "o"},
            "networkPolicy": {"egress": [ELSEWHERE | {"ports": [{"port": 5432, "protocol": "TCP"}]}]},
        },
        "The migration reaches nobody but whom networkPolicy.postgres names",
    ),
    "metrics that nobody reaches": (
        {
            "tls": {"source": "secret", "secretName": "t"},
            "monitoring": {"serviceMonitor": {"enabled": True, "credentials": {"secretName": "m"}}},
        },
        "name your Prometheus in networkPolicy.control",
    ),
    "a listener of the chart's": ({"config": {"gateway": {"listen": "0.0.0.0:1"}}}, "config.gateway.listen is set by the chart"),
    "a certificate of the chart's": ({"config": {"control": {"tls": {}}}}, "config.control.tls is set by the chart"),
    "probes of the chart's": ({"config": {"control": {"probes": "0.0.0.0:1"}}}, "config.control.probes is set by the chart"),
    "a state of the chart's": ({"config": {"state": "/x"}}, "config.state is set by the chart"),
    "a store of the chart's": ({"config": {"audit": {"store": {"adapter": "sqlite"}}}}, "config.audit.store is set by the chart"),
}


def refusal(given: dict[str, Any]) -> str:
    rendered()  # skips where Helm is missing
    from helm_python import HelmError

    with pytest.raises(HelmError) as caught:
        rendered(given)
    return str(caught.value)


@pytest.mark.parametrize("case", SHAPES)
def test_the_schema_refuses(case: str) -> None:
    """Shapes and types are refused before anything is rendered, and the message names the value."""
    given, named = SHAPES[case]
    said = refusal(given)
    assert "schema" in said.lower()
    assert named in said


@pytest.mark.parametrize("case", SENTENCES)
def test_what_does_not_go_together_is_refused_in_a_sentence(case: str) -> None:
    """What no schema can say is one sentence, which names the values to change."""
    given, sentence = SENTENCES[case]
    assert sentence in refusal(given)


@pytest.mark.parametrize("section", ["gateway", "decide", "envoy", "events", "control", "policy", "audit", "telemetry", "nodes", "catalog"])
def test_a_section_without_anything_is_as_if_it_were_left_out(section: str) -> None:
    """`null`, as somebody writes who takes a default away; also where the chart puts something into it."""
    for around in ({}, {"opa": OPA, "networkPolicy": {"egress": [ELSEWHERE]}}, POSTGRES, ENVOY):
        assert rendered(around | {"config": {section: None}}).keys() == rendered(around).keys()


def test_a_collector_in_the_pod_needs_no_rule() -> None:
    """Loopback is not what a network policy is about."""
    assert rendered({"config": {"telemetry": {"otlp": "http://127.0.0.1:4318"}}})


def keys(node: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {path} if path else set()
    for name, value in node.items() if isinstance(node, dict) else ():
        found |= keys(value, (*path, name))
    return found


def declared(schema: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {path} if path else set()
    for name, value in schema.get("properties", {}).items():
        found |= declared(value, (*path, name))
    return found


def test_the_schema_knows_every_value_and_no_other() -> None:
    """A value that is added without its schema, or the other way round, is found. `global` is Helm's own."""
    defaults = keys(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
    known = declared(SCHEMA) - {("global",)}
    opaque = [path for path in known if not any(other[: len(path)] == path and other != path for other in known)]
    assert known <= defaults
    assert [path for path in defaults - known if not any(path[: len(each)] == each for each in opaque)] == []


def test_objects_of_the_schema_are_closed() -> None:
    """Every object with properties refuses others."""

    def open_ones(node: Any) -> list[Any]:
        if isinstance(node, list):
            return [found for each in node for found in open_ones(each)]
        if not isinstance(node, dict):
            return []
        own = [node] if "properties" in node and isinstance(node.get("type"), str) and node.get("additionalProperties") is not False else []
        return own + [found for each in node.values() for found in open_ones(each)]

    assert open_ones(SCHEMA) == []


def test_the_sets_of_values_are_taken() -> None:
    """The cases that are tried are themselves in order."""
    for case in CASES:
        assert rendered(values(case))


@pytest.mark.parametrize("source", ["b.tar.gz", "http://127.0.0.1:9000/b.tar.gz", "http://localhost/b.tar.gz"])
def test_bundles_of_the_pod_itself_need_no_network(source: str) -> None:
    """A file, or what a container beside the node serves."""
    assert rendered({"config": {"policy": {"bundle": {"from": source}}}})


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/workspace/policies", None),
        ("../policies", None),
        ("${POLICIES}", None),
        (".", "a.rego"),
        ("./rules/", "rules/x/a.rego"),
        ("rules/./x", "rules/x/a.rego"),
        (None, "policies/a.rego"),
    ],
)
def test_policies_that_are_there_by_any_path_are_taken(path: str | None, file: str | None) -> None:
    """Those of the image, or of a volume, beside a workspace of the values; and however a folder of the values is written."""
    policy = None if path is None else {"path": path}
    files = {"catalog.yaml": "x"} | ({file: "package a"} if file is not None else {})
    assert rendered({"config": {"policy": policy}, "workspace": {"source": "values", "files": files}})


@pytest.mark.parametrize(
    "network",
    [
        {"enabled": False},
        {"postgres": [{"podSelector": {}}]},
        {"egress": [ELSEWHERE | {"ports": [{"port": 5432, "protocol": "TCP"}]}]},
        {"egress": [ELSEWHERE | {"ports": [{"port": 6432, "protocol": "TCP"}]}], "postgresPort": 6432},
        {"egress": [ELSEWHERE | {"ports": [{"port": 5000, "endPort": 6000, "protocol": "TCP"}]}]},
    ],
)
def test_a_database_is_reached_by_any_rule_for_its_port(network: dict[str, Any]) -> None:
    """What is refused is only what cannot work."""
    assert rendered(UNREACHED | {"networkPolicy": network, "tls": {"insecure": True}})


@pytest.mark.parametrize(
    "secrets",
    [
        {"annotations": {"vault.hashicorp.com/agent-inject-secret-sealing.key": "kv/s"}},
        {"annotations": {"vault.hashicorp.com/agent-configmap": "agent"}},
        {"files": VAULT["secrets"]["vault"]["files"] | {"redis-url": {"secret": "kv/r", "template": "t"}}},
    ],
)
def test_what_vault_is_asked_for_by_annotations_counts(secrets: dict[str, Any]) -> None:
    """The chart refuses what it knows to be missing, and nothing that somebody names in another way."""
    vault = {"role": "r", "files": {"ledger.key": {"secret": "kv/l", "template": "t"}}} | secrets
    assert rendered(VAULT | {"secrets": {"source": "vault", "vault": vault}})


def test_policies_may_be_elsewhere_than_in_values() -> None:
    """In a bundle, or with an OPA server."""
    files = {"source": "values", "files": {"catalog.yaml": "x"}}
    network = {"networkPolicy": {"egress": [ELSEWHERE]}}
    assert rendered({"workspace": files, "config": {"policy": {"bundle": {"from": "b.tar.gz", "unsigned": True}}}})
    assert rendered({"workspace": files, "opa": OPA} | network)
    assert rendered({"workspace": files | {"files": {"catalog.yaml": "x", "r/a.rego": ""}}, "config": {"policy": {"path": "./r/"}}})
