"""The commands of the runbooks as `kubectl exec` runs them: in the image's folder, with the environment that the chart renders and no other
option, against a node that shows the certificate that the chart asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from examples.halden.demo.company import free_ports
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from tests.e2e.authority import Authority
from tests.e2e.processes import Process, until
from tests.e2e.running import cli
from tests.e2e.wire import ask
from tests.helm.rendering import CASES, manifests, of_kind, one, values
from tests.helm.test_configuration import laid_out


def environment(found: list[dict[str, Any]]) -> dict[str, str]:
    """Of Lockgate's container, but for what Kubernetes and Secrets fill in."""
    (workload,) = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@dataclass(frozen=True)
class Pod:
    """`image` is where commands are run: a folder with another lockgate.yaml, which is not the release's."""

    folder: Path
    image: Path
    environment: dict[str, str]
    key: str = ""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return cli(*command, folder=self.image, LOCKGATE_KEY=self.key, **self.environment)

    def said(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A release with its keys from a Secret and its certificate from cert-manager, in one folder. Paths and addresses are all that is
    changed."""
    folder, ports = tmp_path_factory.mktemp("pod"), free_ports(2)
    given = {"workspace": values("workspace-values-csi")["workspace"], "secrets": {"source": "existing", "existing": {"name": "s"}}}
    given |= {"gateway": {"port": ports[0]}, "control": {"port": ports[1]}}
    given |= {"tls": {"source": "certManager", "certManager": {"issuerRef": {"name": "internal"}}}}
    found = manifests(given)
    for part in ("config", "image", "secrets", "tls"):
        (folder / part).mkdir(mode=0o700)
    laid_out(folder / "config", found)
    written = folder / "config" / "..data" / "lockgate.yaml"
    text = re.sub("/run/lockgate|/var/lib/lockgate", str(folder), written.read_text(encoding="utf-8"))
    written.write_text(text.replace("0.0.0.0", "127.0.0.1"), encoding="utf-8")
    (folder / "image" / "lockgate.yaml").write_text("version: 1\naudit: {origin: not.this/one}\n", encoding="utf-8")
    ensure_signing_key(folder / "secrets" / "ledger.key")
    ensure_sealing_key(folder / "secrets" / "sealing.key")
    asked = one(found, "Certificate")["spec"]
    authority = Authority(folder)
    names = [x509.DNSName(each) for each in asked["dnsNames"]]
    issued = authority.issue("server", *names, *(x509.IPAddress(ip_address(each)) for each in asked.get("ipAddresses", [])))
    for path, name in zip((authority.ca, *issued), ("ca.crt", "tls.crt", "tls.key"), strict=True):
        shutil.copy(path, folder / "tls" / name)
    variables = {name: re.sub("/etc/lockgate", str(folder / "config"), value) for name, value in environment(found).items()}
    variables = {name: re.sub("/(run|var/lib)/lockgate", str(folder), value) for name, value in variables.items()}
    made = Pod(folder, folder / "image", variables)
    key = made.said("keys", "create", "--subject", "olga", "--role", "admin", "--role", "reviewer", "--scope", "control").strip()
    serve = [sys.executable, "-m", "lockgate", "serve", "--config", str(folder / "config" / "lockgate.yaml")]
    node = Process(serve, folder / "log")
    try:
        node.start()
        until(lambda: node.ended is not None or _ready(folder), "the node was ready", 120)
        assert node.ended is None, node.said
        assert ask(ports[0], "GET", "/items/1").code == "credential_missing"
        yield Pod(folder, folder / "image", variables, key)
    finally:
        node.kill()


def _ready(folder: Path) -> bool:
    """By its log: asking would be what is to be shown."""
    return "Lockgate serves" in (folder / "log").read_text(encoding="utf-8")


ASKING = [
    ("nodes", "show"),
    ("deliveries", "list", "--state", "dead"),
    ("objectives",),
    ("review", "list"),
    ("drift",),
    ("config", "diff"),
    ("nodes", "drain", "--reason", "looking at it"),
    ("nodes", "resume"),
]
READING = [
    ("audit", "verify"),
    ("audit", "query", "--kind", "system"),
    ("audit", "query", "--personal"),
    ("audit", "stats", "--by", "result"),
    ("audit", "degraded"),
    ("endpoints", "list"),
    ("keys", "list"),
    ("check",),
]


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_commands_that_ask_the_node_believe_it(pod: Pod, command: tuple[str, ...]) -> None:
    """Where the configuration says that it listens, by the certificate that the chart asked for; a key is all that is given."""
    pod.said(*command)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_commands_that_read_find_the_releases_state_and_keys(pod: Pod, command: tuple[str, ...]) -> None:
    """Not the image's workspace, in whose folder they are run, and with the keys that the release has from its Secret."""
    assert "not.this" not in pod.said(*command)


def test_keys_that_are_made_are_those_of_the_node(pod: Pod) -> None:
    """The one that the other commands ask with is among them, and in the state that is kept."""
    assert [each["subject"] for each in json.loads(pod.said("keys", "list", "--json"))] == ["olga"]
    assert (pod.folder / "state" / "identity.sqlite").exists()
    assert not (pod.image / "state").exists()


def test_the_glass_is_broken_by_the_releases_own_key(pod: Pod) -> None:
    """The last resort, when nobody can sign in."""
    assert "/console/sign-in/break-glass?token=" in pod.said("console", "break-glass", "--case", "INC-1")


@pytest.mark.parametrize("case", [None, *CASES])
def test_every_release_says_where_its_configuration_is(case: str | None) -> None:
    """And nothing that would win over what it says. Authorities only where there is a certificate."""
    found = manifests(values(case) if case else {})
    said = environment(found)
    assert said["LOCKGATE_CONFIG"] == "/etc/lockgate/lockgate.yaml"
    assert "LOCKGATE_STATE" not in said
    (workload,) = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert said["LOCKGATE_CONFIG"] in container["args"]
    mounted = "/run/lockgate/tls" in {each["mountPath"] for each in container["volumeMounts"]}
    assert said.get("LOCKGATE_CONTROL_CA") == ("/run/lockgate/tls/ca.crt" if mounted else None)


def test_authorities_that_the_system_knows_are_left_to_it() -> None:
    """An empty `tls.ca` sets no variable, another key of the Secret is named as it is."""
    tls = {"source": "secret", "secretName": "t"}
    assert "LOCKGATE_CONTROL_CA" not in environment(manifests({"tls": {**tls, "ca": ""}}))
    assert environment(manifests({"tls": {**tls, "ca": "tls.crt"}}))["LOCKGATE_CONTROL_CA"] == "/run/lockgate/tls/tls.crt"


@pytest.mark.parametrize("named", [{"env": {"LOCKGATE_CONTROL_CA": "/x"}}, {"secrets": {"env": {"LOCKGATE_CONTROL_CA": "authority"}}}])
def test_authorities_that_values_name_stand_alone(named: dict[str, Any]) -> None:
    """A variable that stands twice is one or the other, by what applies the manifest."""
    given = {"tls": {"source": "secret", "secretName": "t"}, "env": {}} | named
    given |= {"secrets": {"source": "existing", "existing": {"name": "s"}, **named.get("secrets", {})}}
    (container,) = one(manifests(given), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["env"]].count("LOCKGATE_CONTROL_CA") == 1


def test_the_certificate_is_asked_for_by_every_set_of_values_that_has_an_issuer() -> None:
    """For the container itself, too."""
    (certificate,) = of_kind(manifests(values("postgres-envoy")), "Certificate")
    assert "localhost" in certificate["spec"]["dnsNames"]
    assert certificate["spec"]["ipAddresses"] == ["127.0.0.1"]
