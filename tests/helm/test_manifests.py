"""What the chart renders: as it was agreed on, and as Kubernetes and the custom resources' projects want it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.helm.rendering import CASES, CHART, GOLDEN, NOTES, golden_text, manifests, rendered, values
from tests.needs import needs

CUSTOM = yaml.safe_load((Path(__file__).parent / "crds.yaml").read_text(encoding="utf-8"))
CORE_GROUPS = ("v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1")


def newest() -> list[str]:
    """The three newest versions of Kubernetes whose schemas are here."""
    needs("kubernetes_validate", "pip install -r requirements/dev.lock")
    from kubernetes_validate.utils import all_versions, major_minor

    return list(dict.fromkeys(major_minor(version) for version in all_versions()))[-3:]


def faults(manifest: dict[str, Any], version: str) -> str:
    """Empty where the manifest is right."""
    from kubernetes_validate import utils

    kind = f"{manifest['apiVersion']} {manifest['kind']}"
    try:
        if manifest["apiVersion"] in CORE_GROUPS:
            utils.validate(manifest, version, strict=True)
        else:
            schema = {"definitions": CUSTOM["definitions"], **CUSTOM["kinds"][kind]}
            jsonschema.validate(manifest["spec"], schema)
    except (jsonschema.ValidationError, utils.ValidationError) as error:
        return f"{kind}: {error.message}"
    return ""


@pytest.mark.parametrize("case", [None, *CASES])
def test_helm_finds_nothing(case: str | None) -> None:
    """`helm lint --strict` has neither errors nor warnings, with the defaults and with each set of values."""
    needs("helm_python", "pip install -r requirements/dev.lock, on Linux")
    from helm_python import lint

    report = lint(CHART, values(case) if case else {}, strict=True, namespace="edge")
    assert not report["errors"]
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_those_that_were_agreed_on(case: str) -> None:
    """A change of the chart shows in the golden manifests; `python -m tests.helm` writes them anew."""
    assert golden_text(case) == (GOLDEN / f"{case}.yaml").read_text(encoding="utf-8")


def test_every_golden_file_has_its_values() -> None:
    """None is left of a case that is gone."""
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == CASES


@pytest.mark.parametrize("case", [None, *CASES])
def test_kubernetes_takes_every_manifest(case: str | None) -> None:
    """The three newest versions' own schemas, strictly: no unknown field, none of another type. Custom resources: as their projects say."""
    found = manifests(values(case) if case else {})
    assert [fault for version in newest() for manifest in found if (fault := faults(manifest, version))] == []


def test_validation_finds_what_is_wrong() -> None:
    """A misspelt field fails, in a resource of Kubernetes' own and in a custom one."""
    found = manifests(values("postgres-envoy"))
    deployment = next(each for each in found if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    policy = next(each for each in found if each["kind"] == "EnvoyExtensionPolicy")
    policy["spec"]["extProc"][0]["failopen"] = False
    for version in newest():
        assert "readynessProbe" in faults(deployment, version)
        assert "failopen" in faults(policy, version)


def test_every_custom_resource_is_rendered_by_some_case() -> None:
    """No schema of theirs is there for nothing."""
    kinds = {f"{each['apiVersion']} {each['kind']}" for case in CASES for each in manifests(values(case))}
    assert set(CUSTOM["kinds"]) <= kinds
    assert {kind.split()[0] for kind in kinds} - set(CORE_GROUPS) == {kind.split()[0] for kind in CUSTOM["kinds"]}


def test_the_defaults_need_no_custom_resource() -> None:
    """A cluster without any operator takes the chart as it is."""
    assert {each["apiVersion"] for each in manifests()} <= set(CORE_GROUPS)


def test_names_are_given_once() -> None:
    """No two manifests of a release are the same object."""
    for case in CASES:
        found = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in manifests(values(case))]
        assert len(found) == len(set(found))


def test_notes_say_that_nobody_may_come_in_yet() -> None:
    """Who installs the defaults is told why no request arrives."""
    assert "Nobody may reach the gateway yet" in rendered()[NOTES]
    assert "Nobody may reach the gateway yet" not in rendered(values("sqlite-gateway"))[NOTES]
