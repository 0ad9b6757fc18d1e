"""What a bundle must say, and what it then means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.rego import embedded
from router.bundle.build import assemble
from router.bundle.content import ATTESTED, Trust, merged_data, open_bundle, package_path, read_bundle
from router.bundle.documents import MANIFEST
from router.errors import BundleError
from tests.unit.bundle.making import DATA, TEXTS, attestation, files, signing, sources, trusted


def with_manifest(**changed: Any) -> dict[str, bytes]:
    made = files(signed=False)
    manifest = json.loads(made[MANIFEST]) | changed
    return {**made, MANIFEST: json.dumps(manifest).encode()}


def with_own(**changed: Any) -> dict[str, bytes]:
    own = json.loads(files(signed=False)[MANIFEST])["metadata"]["lockgate"] | changed
    return with_manifest(metadata={"lockgate": {name: value for name, value in own.items() if value is not None}})


def test_a_signed_bundle_says_who_what_and_which_number() -> None:
    """Policies and tests apart, data as one document."""
    bundle = open_bundle(files(), Trust(trusted(), attested=ATTESTED["required"]))
    assert (bundle.revision, bundle.sequence, bundle.signer, bundle.roots) == ("r7", 7, "release", ("lockgate",))
    assert set(bundle.tests) == {"lockgate/decision_test.rego"}
    assert set(bundle.policies) | set(bundle.tests) == set(TEXTS)
    assert bundle.data == DATA


def test_the_digest_is_the_one_in_verdicts() -> None:
    """Neither tests nor the manifest are part of it; policies and data are."""
    bundle = read_bundle(files())
    assert embedded.load(bundle.policies, bundle.data).digest == bundle.digest
    assert read_bundle(files(sequence=8, revision="other", attested=False)).digest == bundle.digest
    less = {name: text for name, text in TEXTS.items() if "test" not in name}
    assert read_bundle(files(sources(less))).digest == bundle.digest
    assert read_bundle(files(sources(data={"lockgate": {"config": {}}}))).digest != bundle.digest


def test_a_signed_bundle_without_a_key_to_verify_it_is_refused() -> None:
    """As OPA does: who signs expects that somebody looks."""
    with pytest.raises(BundleError, match="no key is configured"):
        open_bundle(files(), Trust())


def test_where_tests_are_required_they_must_have_passed() -> None:
    """And be the tests of these policies."""
    trust = Trust(trusted(), attested=ATTESTED["required"])
    for made in (files(attested=False), _attested_for_others(), _attested_with_none()):
        with pytest.raises(BundleError) as caught:
            open_bundle(made, trust)
        assert caught.value.code == "bundle_untested"


def test_tests_of_the_embedded_engine_alone_are_enough_only_where_that_is_said() -> None:
    """`embedded` takes both; bundles that were made before OPA ran tests have no version, and are read."""
    made = assemble(sources(), "r", 1, ("lockgate",), attestation(sources(), engine="embedded"), signing())
    assert open_bundle(made, Trust(trusted(), ATTESTED["embedded"])).attestation == attestation(sources(), engine="embedded")
    assert open_bundle(files(), Trust(trusted(), ATTESTED["embedded"])).attestation == attestation(sources())
    with pytest.raises(BundleError, match="ran in the engine 'embedded' and not in OPA") as caught:
        open_bundle(made, Trust(trusted(), ATTESTED["required"]))
    assert caught.value.code == "bundle_untested"


def _attested_for_others() -> dict[str, bytes]:
    others = sources(data={})
    return assemble(sources(), "r", 1, ("lockgate",), attestation(others), signing())


def _attested_with_none() -> dict[str, bytes]:
    return assemble(sources(), "r", 1, ("lockgate",), attestation(sources(), passed=0), signing())


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (with_manifest(roots=["lockgate/admission"]), "lies outside of the manifest's roots"),
        (
            with_manifest(roots=["lockgate/decision", "lockgate/admission", "lockgate/decision_test"]),
            "data at 'lockgate/config' lies outside",
        ),
        (with_manifest(roots=["lockgate", "lockgate/decision"]), "overlap"),
        (with_manifest(roots="lockgate"), "must be a list of paths"),
        (with_manifest(rego_version=0), "another version of Rego"),
        (with_manifest(file_rego_versions={"/a.rego": 0}), "another version of Rego"),
        (with_manifest(revision=7), "revision must be a word"),
        (with_manifest(revision="a b"), "revision must be a word"),
        (with_manifest(metadata=[1]), "must be objects"),
        (with_own(digest="0" * 64), "the digest of other policies"),
        (with_own(sequence=0), "whole number from 1 on"),
        (with_own(sequence=1.5), "whole number from 1 on"),
        (with_own(sequence=True), "whole number from 1 on"),
        (with_own(tests={"passed": 1}), "must have engine, passed, digest and at"),
        ({**files(signed=False), MANIFEST: b"[]"}, "must be an object"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(made: dict[str, bytes], sentence: str) -> None:
    """Each with its sentence, and all with one code."""
    with pytest.raises(BundleError, match=sentence) as caught:
        read_bundle(made)
    assert caught.value.code == "bundle_manifest_wrong"


@pytest.mark.parametrize("name", ["patch.json", "policy.wasm", "a/plan.json"])
def test_what_cannot_be_used_is_refused(name: str) -> None:
    """Delta bundles and compiled policies; leaving them out would be another policy."""
    with pytest.raises(BundleError, match="cannot be used here"):
        read_bundle({**files(signed=False), name: b"{}"})


def test_a_bundle_of_opas_own_is_read() -> None:
    """No manifest, or one without anything of ours: everything is its root, and it has no number."""
    made = {name: content for name, content in files(signed=False).items() if name != MANIFEST}
    bundle = read_bundle({**made, "README.md": b"x"})
    assert (bundle.roots, bundle.sequence, bundle.attestation, bundle.revision) == (("",), None, None, bundle.digest[:12])
    assert bundle.has_settings


def test_data_lies_where_its_folder_says() -> None:
    """As OPA has it; the same place twice is refused."""
    found = merged_data({"data.json": b'{"lockgate": {"a": 1}}', "lockgate/config/data.yaml": b"b: 2", "lockgate/data.json": b'{"c": 3}'})
    assert found == {"lockgate": {"a": 1, "c": 3, "config": {"b": 2}}}
    with pytest.raises(BundleError, match="a value where another file has one: 'a'"):
        merged_data({"data.json": b'{"lockgate": {"a": 1}}', "lockgate/data.json": b'{"a": 1}'})
    with pytest.raises(BundleError, match="must be a mapping"):
        merged_data({"data.json": b"[1]"})


@pytest.mark.parametrize(
    ("text", "path"),
    [("package a.b", "a/b"), ("# c\n\n# METADATA\npackage  a.b # d", "a/b"), ('package a["x-y"].c', "a/x-y/c")],
)
def test_the_package_is_the_first_thing_said(text: str, path: str) -> None:
    """Before it there is nothing but comments."""
    assert package_path("f", text) == path


@pytest.mark.parametrize("text", ["", "x := 1\npackage a", "# package a"])
def test_a_text_without_a_package_is_refused(text: str) -> None:
    """It would be in no root."""
    with pytest.raises(BundleError, match="does not begin with its package"):
        package_path("f", text)
