"""What an encoder tells of a catalog, by vectors that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from router.catalog_likeness import lint_likeness
from router.catalog_lint import Finding, Linted, opened
from router.snapshot import Snapshot


def catalog(intents: Mapping[str, Sequence[str]]) -> Linted:
    document = {
        "version": 1,
        "destinations": {"d": {"adapter": "http"}},
        "routes": {"r": {"destination": "d"}},
        "intents": {name: {"description": f"About {name}.", "route": "r", "examples": list(texts)} for name, texts in intents.items()},
    }
    text = yaml.safe_dump(document, sort_keys=False)
    return opened(Snapshot(Path("/nowhere"), "lockgate.yaml", {"lockgate.yaml": b"version: 1\n", "catalog.yaml": text.encode()}), {})


def lint(intents: Mapping[str, Sequence[str]], angles: Sequence[float], described: Sequence[float]) -> list[Finding]:
    """Vectors in the plane, by their angles in degrees."""
    return lint_likeness(catalog(intents), plane(angles), plane(described))


def plane(angles: Sequence[float]) -> np.ndarray:
    turned = np.radians(np.array(angles))
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


TWO = {"a": ("a one", "a two"), "b": ("b one", "b two")}


def test_intents_far_apart_have_no_finding() -> None:
    """However close their own examples are."""
    assert lint(TWO, [0, 1, 90, 91], [0, 90]) == []


def test_examples_that_mean_the_same_are_told_once() -> None:
    """At the later of both, with the place of the other."""
    found = lint(TWO, [0, 40, 45, 120], [0, 90])
    (alike,) = [each for each in found if each.code == "alike_examples"]
    assert "“b one” (b) and “a two” (a, catalog.yaml:" in alike.sentence


def test_the_same_words_are_left_to_the_words() -> None:
    """A pair that is the same but for its writing is an error already."""
    found = lint({"a": ("one", "far"), "b": ("One!", "off")}, [0, 60, 0, 120], [0, 90])
    assert "alike_examples" not in {each.code for each in found}


def test_intents_whose_examples_lie_among_each_other_are_near_duplicates() -> None:
    """Every example's nearest is of the other intent."""
    mixed = {"a": ("a1", "a2", "a3"), "b": ("b1", "b2", "b3"), "c": ("c1", "c2")}
    found = lint(mixed, [0, 60, 120, 25, 85, 145, 250, 251], [0, 90, 180])
    assert [each.code for each in found] == ["near_duplicate_intents"]
    assert "a and b" in found[0].sentence
    assert "of their 6 examples" in found[0].sentence


def test_descriptions_that_mean_the_same_are_found() -> None:
    """At the later intent's."""
    (finding,) = lint(TWO, [0, 1, 90, 91], [0, 10])
    assert finding.code == "alike_descriptions"
    assert "a and b" in finding.sentence


def test_one_intent_has_nothing_to_be_compared_with() -> None:
    """And a catalog without examples neither."""
    assert lint({"a": ("x", "y")}, [0, 1], [0]) == []
    assert lint({"a": ()}, [], [0]) == []
