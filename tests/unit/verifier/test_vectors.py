from __future__ import annotations

import json

import pytest

from tests.unit.verifier.vectors import FOLDER, answer, raw_bundle, vectors
from vectors.make import files


@pytest.mark.parametrize("name", vectors())
def test_the_python_verifier_holds_to_the_vectors(name: str) -> None:
    """Status, id and sentence are those of the vector."""
    vector = vectors()[name]
    said = answer(raw_bundle(vector), vector)
    assert {part: said[part] for part in ("status", "id", "sentence")} == {part: vector[part] for part in ("status", "id", "sentence")}


def test_the_vectors_are_what_the_script_writes() -> None:
    """Whoever doubts them can make them again, byte for byte."""
    made = files()
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")} == made


def test_every_step_is_failed_by_some_vector() -> None:
    """No step that could be left out unnoticed."""
    assert {vector["status"] for vector in vectors().values()} == {0, 2, *range(11, 21)}


def test_names_are_used_once() -> None:
    """Across all files."""
    names = [vector["name"] for file in FOLDER.glob("*.json") for vector in json.loads(file.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))
