"""Our bundles by OPA's own code: its tokens' verification, its digests' form, its compiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opa_bindings import OpaEngine

from router.bundle.archive import pack, unpack
from router.bundle.build import Signing, assemble, collect
from router.bundle.documents import JSON_DATA, MANIFEST, SIGNATURES, file_digest
from router.bundle.signature import signing_key
from tests.conformance.rego_truth import POLICIES
from tests.unit.bundle.making import pair

VERIFIERS = {"ES256": "es256", "ES384": "es384", "RS256": "rs256", "PS256": "ps256", "EdDSA": "eddsa"}


def shipped(algorithm: str) -> tuple[dict[str, bytes], str]:
    """The shipped policies as a bundle, packed and unpacked, and the public key."""
    private, public = pair(algorithm)
    signing = Signing(*signing_key(private, algorithm, "k"), "release")
    return unpack(pack(assemble(collect(POLICIES), "r1", 1, ("lockgate",), None, signing)), "b"), public.decode()


def asked(query: str, given: Any) -> Any:
    (found,) = OpaEngine().eval_query(f"x := {query}", given)
    return found["x"]


@pytest.mark.parametrize("algorithm", sorted(VERIFIERS))
def test_opa_verifies_the_token(algorithm: str) -> None:
    """With the algorithm and key that OPA would be configured with; the name of the key is where OPA looks for it."""
    files, public = shipped(algorithm)
    (token,) = json.loads(files[SIGNATURES])["signatures"]
    assert asked(f"io.jwt.verify_{VERIFIERS[algorithm]}(input.token, input.key)", {"token": token, "key": public}) is True
    header, payload, _ = asked("io.jwt.decode(input.token)", {"token": token})
    assert (header["alg"], header["kid"], payload["keyid"]) == (algorithm, "release", "release")
    assert {each["name"] for each in payload["files"]} == set(files) - {SIGNATURES}


def test_opa_finds_the_same_digests() -> None:
    """Of policies the bytes, of data and manifest what OPA writes for them."""
    files, _ = shipped("ES256")
    (token,) = json.loads(files[SIGNATURES])["signatures"]
    _, payload, _ = asked("io.jwt.decode(input.token)", {"token": token})
    for each in payload["files"]:
        content = files[each["name"]]
        if each["name"] in (JSON_DATA, MANIFEST):
            found = asked("crypto.sha256(json.marshal(input))", json.loads(content))
        else:
            found = asked("crypto.sha256(input)", content.decode())
        assert each == {"name": each["name"], "algorithm": "SHA-256", "hash": found}


@pytest.mark.parametrize(
    "document",
    [b'{"b": 1, "a": [true, null, "\xc3\xa4\\n\\u0001\\u2028"]}', b'{"a": 12.5, "B": -3, "A\xc3\xa9": {}}', b"[]"],
    ids=["text", "numbers", "empty"],
)
def test_documents_are_written_as_opa_writes_them(document: bytes) -> None:
    """Keys in the order of their bytes, the same escapes."""
    assert file_digest(JSON_DATA, document) == asked("crypto.sha256(json.marshal(json.unmarshal(input)))", document.decode())


def test_opa_loads_the_policies_and_the_data() -> None:
    """And answers from them."""
    files, _ = shipped("ES256")
    engine = OpaEngine()
    for name, content in files.items():
        if name.endswith(".rego"):
            engine.add_policy(name, content.decode())
    engine.add_data(json.loads(files[JSON_DATA]))
    assert engine.eval_document("lockgate.admission.result", {})["effect"] == "deny"


def test_a_folder_of_opas_is_collected_whole(tmp_path: Path) -> None:
    """Data in JSON and YAML, each at the place of its folder."""
    (tmp_path / "lockgate/config").mkdir(parents=True)
    (tmp_path / "lockgate/a.rego").write_text("package lockgate.a\n")
    (tmp_path / "lockgate/config/data.yaml").write_text("b: 1\n")
    (tmp_path / "lockgate/data.json").write_text('{"c": 2}')
    assert collect(tmp_path).data == {"lockgate": {"c": 2, "config": {"b": 1}}}
