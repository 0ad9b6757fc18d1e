"""An archive of a workspace's policies, put in their place, gives that workspace again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bundle.archive import pack, unpack
from router.bundle.versions import OVERRIDE, Override
from router.errors import BundleError
from router.policy_sources import (
    DOWNLOADED,
    archive_of,
    is_ours,
    kept_bundle,
    marked,
    overridden,
    sources_digest,
    substituted,
    versions_of,
)
from tests.unit.bundle.making import ADMISSION, POLICY, TEST, files

Files = dict[str, bytes]
URL = "https://bundles.test/b.tar.gz"
OTHER = b"package other\n"
WHY = Override("a" * 64, "promoted", "r1", 1, "0" * 64)
BESIDE = {"lockgate.yaml": b"version: 1\n", "catalog.yaml": b"name: a\n", "examples/look.txt": b"look\n"}
FOLDER: Files = {**BESIDE, "policies/lockgate/decision.rego": POLICY, "policies/admission.rego": ADMISSION}
DATA: Files = {**FOLDER, "policies/data.yaml": b"lockgate: {}\n"}
NAMED: Files = {**FOLDER, "roles.yaml": b"a: 1\n", "tables/tiers.json": b"{}"}
MADE = files()
BUNDLE = pack(MADE)

WORKSPACES: dict[str, tuple[Files, dict[str, Any]]] = {
    "a folder": (FOLDER, {}),
    "a folder by another path": ({**BESIDE, "rules/of/ours/a.rego": POLICY}, {"policy": {"path": "./rules/of/ours/"}}),
    "the workspace itself": ({**BESIDE, "a.rego": POLICY, "data.yaml": b"{}"}, {"policy": {"path": "."}}),
    "a folder with data": (DATA, {"policy": {"path": "policies"}}),
    "a folder with named data": (NAMED, {"policy": {"data": ["roles.yaml", "tables"]}}),
    "a folder whose data was named": (DATA, {"policy": {"data": "policies/data.yaml"}}),
    "a folder with library": (FOLDER, {"policy": {"library": ["quotas"]}}),
    "a bundle": ({**BESIDE, "b.tar.gz": BUNDLE}, {"policy": {"bundle": {"from": "./b.tar.gz", "unsigned": True}}}),
    "a bundle of a server": ({**BESIDE, DOWNLOADED: BUNDLE}, {"policy": {"bundle": {"from": URL, "unsigned": True}}}),
}
FOLDERS = [name for name in WORKSPACES if "bundle" not in name]


@pytest.mark.parametrize("name", WORKSPACES)
def test_a_workspaces_own_archive_gives_it_again(name: str) -> None:
    """Byte for byte, so that going back gives just what was in force."""
    held, config = WORKSPACES[name]
    assert substituted(held, config, archive_of(held, config)) == held


def test_a_bundles_folder_is_replaced_whole_by_its_archive() -> None:
    """What was in it cannot be told from what is in the archive."""
    below = {f"b/{name}": content for name, content in MADE.items()}
    config = {"policy": {"bundle": {"from": "b", "unsigned": True}}}
    archive = archive_of({**BESIDE, **below}, config)
    assert unpack(archive, "it") == MADE
    assert substituted({**BESIDE, **below}, config, archive) == {**BESIDE, "b": archive}


NAMES = st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4}){0,2}\.rego", fullmatch=True).filter(lambda name: not name.endswith("_test.rego"))
POLICIES = st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=5)


@given(POLICIES, st.none() | st.binary(max_size=40), st.sampled_from([".", "policies", "a/b", "./x/"]))
def test_any_folders_archive_gives_it_again(policies: Files, data: bytes | None, folder: str) -> None:
    """Whatever the files hold and are called."""
    place = {"./x/": "x/", ".": ""}.get(folder, f"{folder}/")
    held = {**BESIDE, **{f"{place}{name}": content for name, content in policies.items()}}
    if data is not None:
        held[f"{place}data.yaml"] = data
    config = {"policy": {"path": folder}}
    assert substituted(held, config, archive_of(held, config)) == held


@given(POLICIES, POLICIES)
def test_nothing_of_the_former_policies_is_left(before: Files, after: Files) -> None:
    """A rule that only one of the two has must not decide under the other."""
    held = {**BESIDE, **{f"policies/{name}": content for name, content in before.items()}}
    found = substituted(held, {}, pack(after))
    assert found == {**BESIDE, **{f"policies/{name}": content for name, content in after.items()}}
    assert unpack(archive_of(found, {}), "it") == after


@pytest.mark.parametrize("name", FOLDERS)
def test_tests_of_an_archive_are_no_policies(name: str) -> None:
    """And neither is whatever else lies in it."""
    held, config = WORKSPACES[name]
    found = substituted(held, config, pack({"a.rego": OTHER, "a_test.rego": TEST, "README.md": b"hello"}))
    assert [content for path, content in found.items() if path.endswith(".rego")] == [OTHER]
    assert set(BESIDE.items()) <= set(found.items())


def test_an_archives_data_takes_the_place_of_the_folders() -> None:
    """All of it as one document, wherever it lies in the archive."""
    found = substituted(DATA, {}, pack({"a.rego": OTHER, "data.json": b'{"a":1}', "b/data.json": b'{"c":2}'}))
    assert found["policies/data.yaml"] == b'{"a":1,"b":{"c":2}}'


def test_an_archive_without_data_leaves_the_folders() -> None:
    """As it was before there was any."""
    assert substituted(DATA, {}, pack({"a.rego": OTHER}))["policies/data.yaml"] == DATA["policies/data.yaml"]


def test_data_of_an_archive_keeps_its_numbers() -> None:
    """Account numbers have more digits than a machine's integers."""
    found = substituted(DATA, {}, pack({"a.rego": OTHER, "data.json": b'{"a":123456789012345678901234567890}'}))
    assert found["policies/data.yaml"] == b'{"a":123456789012345678901234567890}'


def test_data_that_is_no_text_is_refused() -> None:
    """In one sentence, and not somewhere later."""
    with pytest.raises(BundleError, match="no JSON document can hold"):
        substituted(DATA, {}, pack({"a.rego": OTHER, "data.json": b'{"a":"\\ud800"}'}))


def test_two_places_of_data_are_refused() -> None:
    """Nobody could say which of the two decides."""
    with pytest.raises(BundleError, match=r"'policy\.data' names other data"):
        substituted(NAMED, {"policy": {"data": "roles.yaml"}}, pack({"a.rego": OTHER, "data.json": b"{}"}))


def test_an_archive_without_a_policy_is_refused_where_there_are_some() -> None:
    """It is most likely something else, and would deny everybody."""
    with pytest.raises(BundleError, match="no policy in it"):
        substituted(FOLDER, {}, pack({"data.json": b"{}"}))


def test_named_data_may_change_beside_a_version() -> None:
    """And nothing else of the policies."""
    config = {"policy": {"data": ["roles.yaml", "tables"]}}
    before = sources_digest(NAMED, config)
    assert sources_digest({**NAMED, "roles.yaml": b"a: 2\n", "catalog.yaml": b"other"}, config) == before
    assert sources_digest({**NAMED, "policies/admission.rego": OTHER}, config) != before
    assert sources_digest({**DATA, "policies/data.yaml": b"{}"}, {}) != sources_digest(DATA, {})


@pytest.mark.parametrize("name", WORKSPACES)
def test_a_mark_says_why_something_else_decides(name: str) -> None:
    """A folder that says the same decides by itself; a bundle may be older than what was in force, and has to say so."""
    held, config = WORKSPACES[name]
    same = marked(held, held, config, WHY)
    assert (OVERRIDE in same) is ("bundle" in config.get("policy", {}))
    assert marked(held, {**held, "x": b""}, config, WHY)[OVERRIDE] == WHY.to_json()


@pytest.mark.parametrize("name", WORKSPACES)
def test_what_is_in_force_over_a_workspace_is_found_again(name: str, tmp_path: Path) -> None:
    """After a restart, from what the state's folder holds."""
    held, config = WORKSPACES[name]
    versions = versions_of(config, tmp_path)
    archive = pack({"a.rego": OTHER, "b.rego": POLICY})
    override = Override(versions.keep_archive(archive), "promoted", "r1", 1, "0" * 64)
    assert overridden(held, config, tmp_path) == held
    versions.put_in_force(override)
    assert overridden(held, config, tmp_path) == {**substituted(held, config, archive), OVERRIDE: override.to_json()}


def test_policies_of_a_server_are_not_ours(tmp_path: Path) -> None:
    """Whatever was in force here before."""
    config: Mapping[str, Any] = {"policy": {"engine": {"adapter": "opa", "url": "http://127.0.0.1:1"}}}
    versions = versions_of(config, tmp_path)
    versions.put_in_force(Override(versions.keep_archive(pack({"a.rego": OTHER})), "promoted", "r1", 1, "0" * 64))
    assert not is_ours(config)
    assert overridden(FOLDER, config, tmp_path) == FOLDER


def test_each_servers_bundle_is_kept_apart() -> None:
    """Another one's is never taken for it."""
    assert kept_bundle("state", URL) != kept_bundle("state", URL + "2")
