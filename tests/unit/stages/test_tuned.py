"""A file of thresholds is what `tune` wrote, or it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from router.errors import ConfigError
from router.stages.tuned import Entry, EntryCosts, Tuned

ENTRIES = (
    Entry("desk", ("ask", "book"), 0.01, 0.8123456789012345, 0.91, 900, 700, 1, 0.0067, 0),
    Entry(None, ("pay",), 0.001, None, 0.0, 40, 0, 0, None, 2955),
    Entry("desk", ("rest",), None, 0.7, 0.9, 900, 700, 1, 0.01, 0, EntryCosts(20.0, 1.0, 0.25, 0.5)),
)
TUNED = Tuned("c", "sha256:t", {"max_error": 0.01, "static": True, "min_scope": 0.5}, "cross-validation", ENTRIES)


def test_what_is_written_is_read_again() -> None:
    """To the last digit, with the same digest."""
    read = Tuned.from_yaml(TUNED.to_yaml())
    assert read == TUNED
    assert read.digest == TUNED.digest
    assert read.confidences == {"ask": 0.8123456789012345, "book": 0.8123456789012345, "pay": None, "rest": 0.7}


def test_a_person_can_read_it() -> None:
    """It is YAML that says what it is, and what each threshold rests on."""
    text = TUNED.to_yaml().decode()
    assert text.startswith("# Written by `lockgate tune`")
    assert yaml.safe_load(text)["entries"][0]["error_at_most"] == 0.0067


@pytest.mark.parametrize(
    ("old", "new"), [("0.8123456789012345", "0.2"), ("  confidence: null", "  confidence: 0.5"), ("- book", "- refund")]
)
def test_a_changed_number_is_refused(old: str, new: str) -> None:
    """A threshold that somebody would like better was not proved."""
    text = TUNED.to_yaml().decode()
    assert old in text
    with pytest.raises(ConfigError, match="changed after they were found"):
        Tuned.from_yaml(text.replace(old, new, 1).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b"schema: lockgate.thresholds.v2\ndigest: x", b"!!python/object:os.system {}", TUNED.to_yaml()[:300]],
)
def test_something_else_is_refused(data: bytes) -> None:
    """One sentence, whatever it is."""
    with pytest.raises(ConfigError, match="holds no thresholds"):
        Tuned.from_yaml(data)


def test_no_threshold_is_beyond_a_probability() -> None:
    """Not even one with a digest that fits."""
    with pytest.raises(ConfigError, match="holds no thresholds"):
        Tuned.from_yaml(replace(TUNED, entries=(replace(ENTRIES[0], confidence=-0.1),)).to_yaml())
