"""Settings of adopted packages that the packages could not read are refused with their place."""

from __future__ import annotations

import copy
import ipaddress
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from router.errors import ConfigError
from router.library import packages
from router.library_reference import described
from router.library_settings import faults_of, schema_of, wrong
from router.workspace import parse, read
from router.yaml_source import read_yaml
from tests.golden.config.conftest import ENVIRONMENT, GOOD, REGISTRY

FORMATS = FormatChecker(())
HOURS = described("working_hours").example
ODD: tuple[Any, ...] = (None, 0, -1, 99, "", "x", True, [], ["x"], {}, {"x": 1}, 1.5)


@FORMATS.checks("network", ValueError)
def is_network(value: object) -> bool:
    return not isinstance(value, str) or ("/" in value and bool(ipaddress.ip_network(value)))


def settings(name: str) -> Any:
    return yaml.safe_load(described(name).example)["lockgate"]["config"][described(name).settings]


def refused(example: str, *changes: tuple[str, str]) -> list[str]:
    for before, after in changes:
        assert before in example
        example = example.replace(before, after)
    document, _ = read_yaml("data.yaml", example.encode(), None)
    assert document is not None
    return list(map(str, faults_of({"library/working_hours/working_hours.rego": ""}, document.value, [document], "data.yaml")))


@pytest.mark.parametrize("name", packages())
def test_a_packages_example_is_in_order(name: str) -> None:
    """By its schema, which is one."""
    Draft202012Validator.check_schema(schema_of(name))
    assert list(wrong(schema_of(name), settings(name))) == []


def broken(value: Any, chance: random.Random) -> Iterator[Any]:
    """The value with one part replaced or left out, many times."""
    for _ in range(150):
        whole = copy.deepcopy(value)
        node = whole
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = chance.choice(keys) if keys else None
            if key is not None and isinstance(node[key], dict | list) and node[key] and chance.random() < 0.7:
                node = node[key]
                continue
            break
        if key is not None and isinstance(node, dict) and chance.random() < 0.3:
            del node[key]
        elif key is not None:
            node[key] = chance.choice(ODD)
        yield whole


@pytest.mark.parametrize("name", packages())
def test_what_is_wrong_is_what_json_schema_finds_wrong(name: str) -> None:
    """Of an example that was damaged in many ways; time zones apart, of which JSON Schema has no format, nor of networks."""
    truth = Draft202012Validator(schema_of(name), format_checker=FORMATS)
    seen = set()
    for value in broken(settings(name), random.Random(4)):
        zone = value.get("zone") if isinstance(value, dict) else None
        if isinstance(zone, str) and zone != "Europe/Stockholm":
            continue
        expected = truth.is_valid(value)
        assert (list(wrong(schema_of(name), value)) == []) is expected, value
        seen.add(expected)
    assert False in seen


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("otherwise: deny", "otherwise: ask", "data.yaml:9: 'lockgate.config.working_hours.otherwise' must be one of deny, review."),
        ("exempt", "exemt", "data.yaml:8: 'lockgate.config.working_hours.exemt' is not known here. Did you mean 'exempt'?"),
        ("zone: Europe/Stockholm", "zone: Europe/Stokholm", "is no time zone. Did you mean 'Europe/Stockholm'?"),
        ('from: "08:00"', 'from: "8:00"', "data.yaml:6: 'lockgate.config.working_hours.spans[0].from' is not written as it must be"),
        ('"2026-12-24"', "20261224", "'lockgate.config.working_hours.holidays[0]' must be a text."),
        ("      otherwise: deny\n", "", "data.yaml:3: 'lockgate.config.working_hours' needs 'otherwise'."),
        (
            "working_hours:",
            "hours:",
            "data.yaml:1: The package 'working_hours' is adopted, and its settings 'lockgate.config.working_hours'",
        ),
    ],
)
def test_a_fault_is_one_sentence_with_its_place(before: str, after: str, sentence: str) -> None:
    """So that who changed a table finds the line."""
    (found,) = refused(HOURS, (before, after))
    assert sentence in found


def test_a_copy_of_ones_own_may_have_other_settings() -> None:
    """Only the library's own text is held to the library's schema."""
    assert list(faults_of({"policies/lockgate/library/working_hours/working_hours.rego": ""}, {}, [], "data.yaml")) == []


def test_a_workspace_with_settings_that_cannot_be_read_is_not_taken_up(tmp_path: Path) -> None:
    """Neither at the start nor by a reload."""
    files = {**GOOD, "lockgate.yaml": "version: 1\npolicy: {library: [working_hours]}\n", "policies/data.yaml": HOURS}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert "library/adopted.rego" in parse(read(tmp_path, ENVIRONMENT), ENVIRONMENT, REGISTRY).policies
    (tmp_path / "policies" / "data.yaml").write_text(HOURS.replace("deny", "perhaps"))
    with pytest.raises(ConfigError) as caught:
        parse(read(tmp_path, ENVIRONMENT), ENVIRONMENT, REGISTRY)
    assert caught.value.faults == ("policies/data.yaml:9: 'lockgate.config.working_hours.otherwise' must be one of deny, review.",)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("10.0.0.0", "is no network; with its length it is 10.0.0.0/32"),
        ("10.0.0.0/255.0.0.0", "is no network; with its length it is 10.0.0.0/8"),
        ("10.1.2.3/8", "has an address within the network; the network is 10.0.0.0/8"),
        ("010.0.0.0/8", "is no network, such as 10.1.0.0/16 or 2001:db8::/32"),
        ("office", "is no network, such as 10.1.0.0/16 or 2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "is of IPv4 within IPv6; write it as a network of IPv4"),
        ("fe80::%eth0/64", "is no network but an address with a zone, which means nothing to other hosts"),
    ],
)
def test_a_network_that_engines_may_read_differently_is_refused(network: str, sentence: str) -> None:
    """And one of which somebody may have meant only an address."""
    assert list(wrong(schema_of("source_address"), {"allowed": [network]})) == [(("allowed", 0), sentence)]


def test_settings_with_nothing_in_them_are_refused() -> None:
    """They would limit nobody."""
    assert [text for _, text in wrong(schema_of("source_address"), {})] == ["needs one of allowed, refused, tenants, roles"]
    assert [text for _, text in wrong(schema_of("source_address"), {"roles": {"a": {}}})] == ["needs one of allowed, refused"]
