from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError
from router.policy_sources import MAX_BYTES, policy_files
from router.registry import Adapter, Registry
from router.snapshot import Snapshot, digest
from router.stages.llm_calibration import LlmCalibration
from router.stages.tuned import Entry, Tuned
from router.workspace import parse, read, tuned_settings, watched

REGISTRY = Registry(
    {
        ("destination", "tiny"): Adapter("tests.golden.config.tiny_destination"),
        ("policy engine", "embedded"): Adapter("adapters.rego.embedded", config="router.config.judgement:EmbeddedEngine"),
        ("encoder", "minilm"): Adapter("embeddings.minilm", config="router.config.judgement:MinilmEncoder"),
        ("ledger store", "sqlite"): Adapter("adapters.sqlite.place", config="router.config.evidence:SqliteStoreSettings"),
        ("index", "memory"): Adapter("embeddings.index", config="router.config.judgement:MemoryIndexSettings"),
    }
)
CATALOG = """version: 1
destinations: {desk: {adapter: tiny, url: '${DESK:-http://127.0.0.1:9000}'}}
routes: {ask: {destination: desk, path: /ask, method: POST}}
intents:
  status: {description: Where it is., route: ask, examples_file: utterances/status.txt}
  stop: {description: Stop it., route: ask, examples: [stop, call it off]}
"""
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(**changed: str) -> Path:
        files = {
            "lockgate.yaml": "version: 1\n",
            "catalog.yaml": CATALOG,
            "utterances/status.txt": "where is it\nhow far is it\n",
            "policies/decision.rego": "package lockgate.decision\n",
            "policies/data.yaml": "lockgate: {config: {price: '${PRICE}'}}\n",
        }
        for name, text in {**files, **changed}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_a_snapshot_is_the_same_after_a_journey(make: Make) -> None:
    """What the control process hands over is byte for byte what workers parse, and means the same."""
    snapshot = read(make(), {})
    arrived = Snapshot.from_bytes(snapshot.to_bytes())
    assert arrived == snapshot
    assert parse(arrived, {}, REGISTRY) == parse(snapshot, {}, REGISTRY)


def test_a_snapshot_needs_no_files(make: Make) -> None:
    """Once read, a later change on disk changes nothing."""
    root = make()
    snapshot = read(root, {})
    (root / "catalog.yaml").unlink()
    assert parse(snapshot, {}, REGISTRY).catalog.intents["status"].examples == ("where is it", "how far is it")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("lockgate.yaml", {"config"}),
        ("catalog.yaml", {"config", "catalog"}),
        ("utterances/status.txt", {"config", "catalog"}),
        ("policies/decision.rego", {"config", "policy"}),
        ("policies/data.yaml", {"config", "policy"}),
    ],
)
def test_each_digest_covers_its_files(make: Make, file: str, changes: set[str]) -> None:
    """A changed byte shows in the digest of the whole, and in that of its part alone."""
    root = make()
    before = parse(read(root, {}), {}, REGISTRY).digests
    path = root / file
    path.write_text(path.read_text() + "# more\n")
    after = parse(read(root, {}), {}, REGISTRY).digests
    assert {name for name in ("config", "catalog", "policy") if getattr(before, name) != getattr(after, name)} == changes


def test_the_digest_knows_neither_place_nor_environment(make: Make) -> None:
    """The same files have the same digest on another machine."""
    root = make()
    here, there = read(root, {}), replace(read(root, {"DESK": "http://127.0.0.1:1"}), root=Path("/elsewhere"))
    assert here.digest == there.digest


def test_the_digest_is_stable() -> None:
    """Records refer to digests for years: this one may never change."""
    assert digest({"b": b"2", "a": b"1"}) == "63662dceceaac3caee9e43ac15aa0c4c567225916cd9af28900e1dd71438b73e"


def test_bytes_cannot_move_between_path_and_content() -> None:
    """Lengths are part of the digest."""
    assert digest({"ab": b"c"}) != digest({"a": b"bc"})


def test_policy_tests_and_hidden_folders_decide_nothing(make: Make) -> None:
    """Only policies that can decide are in the snapshot; a mounted ConfigMap's `..data` folder is not read twice."""
    root = make(
        **{"policies/rules/a/a.rego": "package a\n", "policies/rules/a/a_test.rego": "package a_test\n", "policies/..data/b.rego": "x"}
    )
    assert policy_files(root, "policies") == ["policies/decision.rego", "policies/rules/a/a.rego"]


def test_policy_data_is_taken_as_it_is(make: Make) -> None:
    """OPA reads the same file: nothing in it comes from the environment."""
    assert parse(read(make(), {}), {"PRICE": "9"}, REGISTRY).policy_data == {"lockgate": {"config": {"price": "${PRICE}"}}}


def test_what_to_watch_is_every_file_and_its_folder(make: Make) -> None:
    """A new policy or a replaced file is noticed."""
    root = make()
    places = watched(read(root, {}))
    assert {root / "policies", root / "policies/decision.rego", root, root / "utterances/status.txt"} <= places


def test_no_workspace_is_one_sentence(tmp_path: Path) -> None:
    """It says how to make one."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {})
    assert caught.value.faults == (
        f"{tmp_path}/lockgate.yaml:1: The file does not exist; `lockgate init` makes a workspace to start from.",
    )


def test_a_huge_file_is_not_read(make: Make) -> None:
    """Ten megabytes are enough for any catalog."""
    root = make()
    (root / "catalog.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=r"catalog\.yaml:1: The file is larger than 10 MiB."):
        read(root, {})


def test_a_folder_in_place_of_a_file_is_a_fault(make: Make) -> None:
    """Something that is no file counts as missing."""
    root = make(**{"lockgate.yaml": "version: 1\ncatalog: policies\n"})
    with pytest.raises(ConfigError, match=r"lockgate\.yaml:2: The file 'policies' does not exist."):
        parse(read(root, {}), {}, REGISTRY)


def test_settings_are_the_adapters_own(make: Make) -> None:
    """Each destination's settings are an instance of its adapter's strict model, with the environment filled in."""
    workspace = parse(read(make(), {}), {"DESK": "http://127.0.0.1:1"}, REGISTRY)
    assert workspace.destinations["desk"].model_dump() == {"url": "http://127.0.0.1:1", "idle": 15.0}
    assert workspace.encoder.model_dump() == {"languages": None, "threads": 1, "digest": None}
    assert workspace.path("state") == workspace.root / "state"


def test_a_calibration_is_of_the_configuration_and_not_of_the_catalog(make: Make) -> None:
    """It names the catalog's digest, so it cannot be part of it; but a decision's configuration covers it, and its change is noticed."""
    llm = "version: 1\nclassifier: {llm: {url: 'http://127.0.0.1:1/v1', model: m, calibration: ./llm.json}}\n"
    found = []
    for calibration in (LlmCalibration("m@1", "p", "c"), LlmCalibration("m@2", "p", "c")):
        snapshot = read(root := make(**{"lockgate.yaml": llm, "llm.json": calibration.to_json().decode()}), {})
        assert root / "llm.json" in watched(snapshot)
        found.append(parse(snapshot, {}, REGISTRY))
        assert found[-1].llm_calibration == calibration
    assert found[0].digests.catalog == found[1].digests.catalog
    assert found[0].digests.config != found[1].digests.config


def thresholds(make: Make, settings: str = "", **changes: Any) -> tuple[Path, Tuned]:
    """A workspace whose configuration names thresholds that fit, but for the changes."""
    config = f"version: 1\nclassifier: {{max_error: 1%, thresholds: t.yaml{settings}}}\n"
    plain = parse(read(make(**{"lockgate.yaml": "version: 1\nclassifier: {max_error: 1%}\n"}), {}), {}, REGISTRY)
    entry = Entry(None, tuple(sorted(plain.catalog.intents)), 0.01, 0.9, 0.5, 400, 300, 0, 0.01, 0)
    tuned = replace(Tuned(plain.digests.catalog, "t", tuned_settings(plain.config), "d", (entry,)), **changes)
    return make(**{"lockgate.yaml": config, "t.yaml": tuned.to_yaml().decode()}), tuned


def test_thresholds_that_fit_are_taken(make: Make) -> None:
    """They are watched, and part of the configuration, not of the catalog whose digest they name."""
    root, tuned = thresholds(make)
    snapshot = read(root, {})
    assert root / "t.yaml" in watched(snapshot)
    assert parse(snapshot, {}, REGISTRY).tuned == tuned


@pytest.mark.parametrize(
    ("settings", "changes", "fault"),
    [
        ("", {"catalog_digest": "another"}, "another catalog"),
        (", min_scope: 0.4", {}, "another 'classifier.min_scope'"),
        (", static: false", {}, "another 'classifier.static'"),
        ("", {"entries": ()}, "other intents"),
    ],
)
def test_thresholds_for_something_else_are_refused(make: Make, settings: str, changes: dict[str, Any], fault: str) -> None:
    """One sentence says what they were found for, and what to do."""
    root, _ = thresholds(make, settings, **changes)
    with pytest.raises(ConfigError) as caught:
        parse(read(root, {}), {}, REGISTRY)
    (told,) = caught.value.faults
    assert told.startswith("t.yaml:1: The thresholds are for ")
    assert fault in told
    assert "run `lockgate tune`" in told


def test_whoever_measures_needs_no_measurement(make: Make) -> None:
    """`lockgate tune` reads a workspace whose files it has yet to write."""
    root = make(**{"lockgate.yaml": "version: 1\nclassifier: {max_error: 1%, thresholds: t.yaml}\n"})
    assert parse(read(root, {}), {}, REGISTRY, measured=False).tuned is None
