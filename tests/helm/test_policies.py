"""What may be in a release, as Rego that the engine which Lockgate embeds evaluates; and that each rule finds what it is about."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.rego.check import check_apart
from adapters.rego.embedded import interpreter, trees
from adapters.rego.syntax import read_module
from router.processes.stopping import STOP_S
from tests.helm.rendering import CASES, manifests, of_kind, values

POLICIES = {path.name: path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "policies").glob("*.rego"))}
CODES = sorted(set(re.findall(r'"code": "([a-z_]+)"', "".join(POLICIES.values()))))
Manifest = dict[str, Any]


def violations(found: list[Manifest]) -> set[tuple[str, str]]:
    engine = interpreter(POLICIES, "{}")
    engine.set_input_json(json.dumps({"manifests": found}))
    return {(each["code"], each["where"]) for each in json.loads(engine.eval_rule_as_json("data.lockgate.release.violation"))}


def pod(found: list[Manifest]) -> Manifest:
    (workload,) = [each for each in found if each["kind"] in ("Deployment", "StatefulSet")]
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(found: list[Manifest]) -> Manifest:
    (only,) = pod(found)["containers"]
    return only


def secured(key: str, value: Any) -> Callable[[list[Manifest]], None]:
    return lambda found: container(found)["securityContext"].update({key: value})


def without(kind: str) -> Callable[[list[Manifest]], None]:
    return lambda found: found.__setitem__(slice(None), [each for each in found if each["kind"] != kind])


def in_pod(key: str, value: Any) -> Callable[[list[Manifest]], None]:
    return lambda found: pod(found).update({key: value})


def in_network(direction: str, rule: Manifest) -> Callable[[list[Manifest]], None]:
    return lambda found: of_kind(found, "NetworkPolicy")[0]["spec"].update({direction: [rule]})


def mounted_to_write(found: list[Manifest]) -> None:
    for mount in container(found)["volumeMounts"]:
        mount.pop("readOnly", None)


def unlimited(found: list[Manifest]) -> None:
    container(found)["resources"]["limits"].pop("memory")


def limited_state(found: list[Manifest]) -> None:
    (state,) = [each for each in pod(found)["volumes"] if each["name"] == "state"]
    state["emptyDir"]["sizeLimit"] = "2Gi"


VIOLATIONS: dict[str, tuple[str, Callable[[list[Manifest]], None]]] = {
    "may be root": ("root", secured("runAsNonRoot", False)),
    "is root": ("root", secured("runAsUser", 0)),
    "leaves its user to the pod": ("no_user_of_its_own", lambda found: container(found)["securityContext"].pop("runAsUser") and None),
    "leaves its group to the pod": ("no_user_of_its_own", lambda found: container(found)["securityContext"].pop("runAsGroup") and None),
    "writes to the image": ("writable_root", secured("readOnlyRootFilesystem", False)),
    "gains privileges": ("escalation", secured("allowPrivilegeEscalation", True)),
    "has all privileges": ("privileged", secured("privileged", True)),
    "keeps capabilities": ("capabilities", secured("capabilities", {})),
    "adds a capability": ("capabilities", secured("capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]})),
    "may call all of the kernel": ("seccomp", secured("seccompProfile", {"type": "Unconfined"})),
    "takes all memory": ("unlimited", unlimited),
    "takes whatever is newest": ("floating_image", lambda found: container(found).update(image="registry.example.com/lockgate:latest")),
    "takes an image without a tag": ("floating_image", lambda found: container(found).update(image="registry.example.com:5000/lockgate")),
    "is not watched": ("unprobed", lambda found: container(found).pop("livenessProbe") and None),
    "is asked before it is ready": ("unprobed", lambda found: container(found).pop("readinessProbe") and None),
    "has a token": ("token", in_pod("automountServiceAccountToken", True)),
    "has an account with a token": ("token", lambda found: of_kind(found, "ServiceAccount")[0].update(automountServiceAccountToken=True)),
    "is in the host's network": ("host", in_pod("hostNetwork", True)),
    "has a folder of the host": ("host", lambda found: pod(found)["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    "fills the host's disk": ("unbounded_scratch", lambda found: pod(found)["volumes"].append({"name": "e", "emptyDir": {}})),
    "is evicted with all others": ("evicted_together", limited_state),
    "may write its secrets": ("writable_mount", mounted_to_write),
    "is cut while it drains": ("short_grace", in_pod("terminationGracePeriodSeconds", int(STOP_S) + 4)),
    "leaves before proxies know": ("no_prestop", lambda found: container(found)["lifecycle"].clear()),
    "carries a secret": ("secret_inside", lambda found: found.append({"kind": "Secret", "metadata": {"name": "s"}})),
    "may be drained away": ("no_pdb", without("PodDisruptionBudget")),
    "may stand in one place": ("no_spread", lambda found: pod(found).pop("topologySpreadConstraints") and None),
    "is open to everybody": ("no_network_policy", without("NetworkPolicy")),
    "lets everybody in": ("open_network", in_network("ingress", {"ports": [{"port": "gateway"}], "from": []})),
    "may go anywhere": ("open_network", in_network("egress", {"ports": [{"port": 443}]})),
    "may use any port": ("open_network", in_network("egress", {"to": [{"podSelector": {}}]})),
    "passes requests on unasked": (
        "fails_open",
        lambda found: of_kind(found, "EnvoyExtensionPolicy")[0]["spec"]["extProc"][0].update(failOpen=True),
    ),
    "passes requests on unauthorised": ("fails_open", lambda found: of_kind(found, "SecurityPolicy")[0]["spec"]["extAuth"].pop("failOpen")),
}


def test_the_policies_are_what_our_engine_answers_rightly() -> None:
    """They use nothing that would be refused in a workspace."""
    assert check_apart([read_module(tree) for tree in trees(POLICIES)]) == []


@pytest.mark.parametrize("case", [None, *CASES])
def test_releases_break_no_rule(case: str | None) -> None:
    """The defaults and every set of values."""
    assert violations(manifests(values(case) if case else {})) == set()


@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_violation_is_found(what: str) -> None:
    """One thing is made wrong in a release that is right, and exactly that code is found."""
    code, spoil = VIOLATIONS[what]
    found = manifests(values("postgres-envoy"))
    spoil(found)
    assert {each for each, _ in violations(found)} == {code}


def test_every_rule_has_a_violation() -> None:
    """A rule that finds nothing would not be noticed."""
    assert sorted({code for code, _ in VIOLATIONS.values()}) == CODES
