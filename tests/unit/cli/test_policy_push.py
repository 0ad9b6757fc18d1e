"""`lockgate policy push`, against OPA's own engine behind its REST API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from adapters.opa.server import OpaServer
from adapters.rego.embedded import load
from router.config.opa import OpaEngine
from router.decision import Verdict
from router.system import SystemClock
from router.workspace import parse, read
from tests.contract.opa_sidecar import Sidecar, sidecar
from tests.e2e.running import cli
from tests.e2e.yard import NAMES, Yard, policy_data


@pytest.fixture(scope="module")
def shared() -> Iterator[Sidecar]:
    with sidecar() as started:
        yield started


@pytest.fixture
def opa(shared: Sidecar) -> Sidecar:
    shared.bundles({}, {}, {})
    return shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with the shipped policies."""
    Yard(tmp_path, tmp_path / "state", {name: 9000 + place for place, name in enumerate(NAMES)}).write()
    return tmp_path


def test_the_shipped_policies_are_put_there_and_decide_under_the_same_digest(opa: Sidecar, folder: Path) -> None:
    """Whatever the order in which they depend on each other. A second time there is nothing to do."""
    first = cli("policy", "push", "--url", opa.url, "--json", folder=folder)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    workspace = parse(read(folder, {}), {})
    assert (sorted(told["added"]), told["data"]) == (sorted(workspace.policies), True)

    async def digest() -> str:
        engine = OpaServer(OpaEngine(url=opa.url), folder, deadline_s=5, clock=SystemClock())
        await engine.open()
        await engine.close()
        return engine.digest

    assert asyncio.run(digest()) == load(workspace.policies, policy_data()).digest
    again = cli("policy", "push", "--url", opa.url, folder=folder)
    assert (again.returncode, again.stdout) == (0, f"{opa.url} holds the same already\n")


def test_a_dry_run_says_what_would_change_and_changes_nothing(opa: Sidecar, folder: Path) -> None:
    """By name; the exit status is for scripts."""
    opa.bundles({}, {"other.rego": "package other\n", "policies/lockgate/decision/decision.rego": "package lockgate.decision\n"}, {})
    before = opa.ask("GET", "/v1/policies")
    found = cli("policy", "push", "--url", opa.url, "--dry-run", folder=folder)
    assert found.returncode == 1
    assert "~ data.lockgate.config\n" in found.stdout
    assert "  other.rego is on the server alone and stays; --delete removes it\n" in found.stdout
    assert opa.ask("GET", "/v1/policies") == before


def test_what_the_server_has_alone_is_removed_only_when_asked(opa: Sidecar, folder: Path) -> None:
    """Others may keep their policies there."""
    opa.bundles({}, {"other.rego": "package other\n"}, {})
    assert cli("policy", "push", "--url", opa.url, folder=folder).returncode == 0
    assert "other.rego" in opa.policies()
    assert "- other.rego" in cli("policy", "push", "--url", opa.url, "--delete", folder=folder).stdout
    assert "other.rego" not in opa.policies()


def test_what_does_not_compile_leaves_the_server_as_it_was(opa: Sidecar, folder: Path) -> None:
    """And is told as a compiler tells it."""
    cli("policy", "push", "--url", opa.url, folder=folder)
    before = {each["id"]: each["raw"] for each in opa.ask("GET", "/v1/policies")["result"]}
    data = opa.ask("GET", "/v1/data/lockgate/config")["result"]
    (folder / "policies/new.rego").write_text("package lockgate.new\n\nx := 1\n")
    (folder / "policies/wrong.rego").write_text("package lockgate.wrong\n\nx := nosuch(1)\n")
    (folder / "policies/data.yaml").write_text(yaml.safe_dump({"lockgate": {"config": {"other": 1}}}))
    found = cli("policy", "push", "--url", opa.url, folder=folder)
    assert found.returncode == 2
    assert "policies/wrong.rego:3: undefined function nosuch" in found.stderr
    assert {each["id"]: each["raw"] for each in opa.ask("GET", "/v1/policies")["result"]} == before
    assert opa.ask("GET", "/v1/data/lockgate/config")["result"] == data


def test_data_that_the_workspace_does_not_have_is_taken_away(opa: Sidecar, folder: Path) -> None:
    """Afterwards both hold the same."""
    cli("policy", "push", "--url", opa.url, folder=folder)
    (folder / "policies/data.yaml").unlink()
    assert "~ data.lockgate.config" in cli("policy", "push", "--url", opa.url, folder=folder).stdout
    assert cli("policy", "push", "--url", opa.url, "--dry-run", folder=folder).returncode == 0


def test_what_a_bundle_brought_is_not_changed(opa: Sidecar, folder: Path) -> None:
    """OPA refuses it, and says whose it is."""
    opa.bundles({"main": "1"}, {}, {})
    found = cli("policy", "push", "--url", opa.url, folder=folder)
    assert found.returncode == 2
    assert 'path lockgate/config is owned by bundle "main"' in found.stderr
    assert "Traceback" not in found.stderr


def test_policies_are_put_there_as_they_are_written(opa: Sidecar, folder: Path) -> None:
    """The client library would rewrite Rego of before OPA 1.0 by itself; that is refused instead."""
    (folder / "policies/old.rego").write_text("package lockgate.old\n\nx { input.a }\n")
    found = cli("policy", "push", "--url", opa.url, folder=folder)
    assert found.returncode == 2
    assert "policies/old.rego:3:" in found.stderr
    assert opa.policies() == []


def test_the_token_goes_to_the_server_that_it_is_for(folder: Path) -> None:
    """From a file, or from the configuration for the configured server; a wrong one is one sentence."""
    with sidecar("--token", "s3cret") as opa:
        refused = cli("policy", "push", "--url", opa.url, folder=folder)
        assert (refused.returncode, refused.stderr) == (2, f"lockgate: The OPA server {opa.url} answered 401.\n")
        (folder / "token").write_text("s3cret\n")
        assert cli("policy", "push", "--url", opa.url, "--token-file", "token", folder=folder).returncode == 0
        config = yaml.safe_load((folder / "lockgate.yaml").read_text())
        config["policy"] = {"engine": {"adapter": "opa", "url": opa.url, "token": {"file": "token"}}}
        (folder / "lockgate.yaml").write_text(yaml.safe_dump(config))
        assert cli("policy", "push", folder=folder).stdout == f"{opa.url} holds the same already\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "The configuration names no OPA server; say which with --url."),
        (("--url", "http://opa.example"), "--url must be an https:// URL, an http:// URL of this machine, or unix:///PATH."),
        (("--url", "unix:///run/opa.sock"), "Policies are put on a server by TCP; opa-python-client has no unix sockets."),
        (("--url", "http://127.0.0.1:1"), "lockgate: The OPA server http://127.0.0.1:1 cannot be reached, or broke off."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """And no traceback."""
    found = cli("policy", "push", *arguments, folder=folder)
    assert (found.returncode, found.stderr) == (2, sentence + "\n")


def test_adopted_packages_are_put_there_and_decide(opa: Sidecar, folder: Path) -> None:
    """As in the embedded engine: what the server holds is asked beside the decision, under the same digest."""
    config = yaml.safe_load((folder / "lockgate.yaml").read_text()) | {"policy": {"library": ["geo_isolation"]}}
    (folder / "lockgate.yaml").write_text(yaml.safe_dump(config))
    data = policy_data()
    data["lockgate"]["config"]["geo_isolation"] = {"tenants": {}, "destinations": {}}
    (folder / "policies" / "data.yaml").write_text(yaml.safe_dump(data))
    pushed = cli("policy", "push", "--url", opa.url, "--json", folder=folder)
    assert {"library/adopted.rego", "library/geo_isolation/geo_isolation.rego"} <= set(json.loads(pushed.stdout)["added"])
    workspace = parse(read(folder, {}), {})
    document = {"entry": "decision", "request": {"host": "a"}, "subject": {"tenant": "eu", "roles": []}, "route": {"destination": "x"}}

    async def judged() -> tuple[Verdict, Verdict]:
        engine = OpaServer(OpaEngine(url=opa.url), folder, deadline_s=5, clock=SystemClock())
        await engine.open()
        found = await engine.evaluate("decision", None, document)
        await engine.close()
        return found, await load(workspace.policies, data).evaluate("decision", None, document)

    found, expected = asyncio.run(judged())
    assert (found.effect, found.reasons, found.digest) == (expected.effect, expected.reasons, expected.digest)
    assert "geo.tenant_unplaced" in [reason.code for reason in found.reasons]
