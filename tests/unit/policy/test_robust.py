"""What stays allowed when something is not known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from router.decision import Effect
from router.library import BESIDE
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.inputs import Document, generated, put, recorded, without
from router.policy.robust import check_robust
from tests.unit.policy.halden import HALDEN, ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies", ignore=shutil.ignore_patterns(*BESIDE)))


SHIPPED = read_folder(ROOT / "policies", ROOT / "policies" / "data.yaml")


@pytest.fixture(scope="module")
def allowed() -> list[Document]:
    """Some of what the shipped policies allow, of both entry points; where it goes nowhere, an allow is no matter."""
    documents, policies = generated(SHIPPED), Policies(SHIPPED)
    found = [each for each, verdict in zip(documents, policies.verdicts(documents), strict=True) if verdict.effect is Effect.ALLOW]
    found = [each for each in found if each["entry"] == "admission" or each["route"] is not None]
    return [each for entry in ("admission", "decision") for each in [one for one in found if one["entry"] == entry][::12]]


def faults(folder: PolicyFolder, documents: list[Document]) -> list[str]:
    return [each.sentence for each in check_robust(folder, Policies(folder), documents).faults]


def changed(folder: Path, file: str, old: str, new: str) -> PolicyFolder:
    path = folder / "lockgate" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return read_folder(folder, folder / "data.yaml")


@pytest.mark.parametrize("data", [ROOT / "policies" / "data.yaml", HALDEN / "policies" / "data.yaml"])
def test_the_shipped_policies_let_nothing_stay_allowed(data):
    """With their own settings and with those of the example; something was allowed at both entry points."""
    folder = read_folder(ROOT / "policies", data)
    found = check_robust(folder, Policies(folder), generated(folder))
    assert found.faults == ()
    assert min(found.allowed.values()) > 0
    assert found.tried > 50


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("rules/confidence/floor/floor.rego", "is_number(input.classification.confidence)", "true", "classification.confidence missing"),
        ("rules/confidence/floor/floor.rego", "input.classification.confidence < least", "false", "input.classification.confidence 0"),
        ("decision.rego", "input.signals.unknown == []", "true", "input.signals.unknown [secret]"),
        ("rules/request/shape/shape.rego", "not input.request.body.truncated == false", "false", "request.body.truncated true"),
        ("rules/request/shape/shape.rego", "input.request.body.problem in data", "false; true in data", "request.body.problem undecodable"),
        ("rules/tenant/isolation/isolation.rego", "not placed(input)", "false", "input.subject.tenant missing"),
        ("rules/access/identity/identity.rego", "is_string(seen.subject.id)", "true", "input.subject.id null"),
    ],
)
def test_a_rule_that_forgets_something_is_found(folder, allowed, file, old, new, sentence):
    """Named with what is not known, and where it is read."""
    assert any(sentence in each for each in faults(changed(folder, file, old, new), allowed))


def test_where_nothing_is_allowed_nothing_was_found_out(folder, allowed):
    """Which is said, for it proves nothing."""
    (folder / "data.yaml").write_text("lockgate: {config: {}}\n")
    found = faults(read_folder(folder, folder / "data.yaml"), allowed)
    assert found == [f"No input is allowed at {entry}, so that nothing was found out about it." for entry in ("admission", "decision")]


def test_inputs_are_the_same_every_time_and_whole(folder):
    """All of what the schema asks for, in both entries."""
    one = generated(read_folder(folder, folder / "data.yaml"))
    assert one == generated(read_folder(folder, folder / "data.yaml"))
    assert {each["entry"] for each in one} == {"admission", "decision"}
    assert all({"door", "time", "headers"} <= each["request"].keys() for each in one)


def test_what_is_changed_is_a_copy():
    """And a place that is not there is left so."""
    document = {"a": {"b": 1}}
    assert (put(document, ("a", "b"), 2), put(document, ("a", "c"), 2), put(document, ("x", "y"), 2)) == (
        {"a": {"b": 2}},
        document,
        document,
    )
    assert (without(document, ("a", "b")), without(document, ("x",))) == ({"a": {}}, document)
    assert document == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: There is no input in the file."),
        ('{"entry": "decision"}\n{', ":2: The line is not JSON."),
        ('{"entry": "other"}', ":1: The line is no input: its 'entry' must be admission or decision."),
        ("[1]", ":1: The line is no input"),
    ],
)
def test_recorded_inputs_that_are_none_are_refused(tmp_path, text, sentence):
    """With their line."""
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(Exception, match=r"a\.jsonl") as caught:
        recorded(tmp_path / "a.jsonl")
    assert sentence in str(caught.value)
