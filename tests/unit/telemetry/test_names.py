from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from opentelemetry.semconv.schemas import Schemas

from router.telemetry import names

# What became stable, or moved to the GenAI conventions' own repository, is marked so too, and has kept its name.
TAKEN_BACK = r"Deprecated(?! in favor of stable|: Moved to the \[OpenTelemetry GenAI)"
ROUTER = Path(names.__file__).parents[1]
OURS = "lockgate."
GIVEN = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
CONVENTIONS = {name: value for name, value in GIVEN.items() if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value) and not value.startswith(OURS)}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_name_of_the_conventions_is_in_the_conventions(name: str) -> None:
    """OpenTelemetry's own package has the attribute, and has not taken it back."""
    group = CONVENTIONS[name].partition(".")[0]
    module = import_module(f"opentelemetry.semconv._incubating.attributes.{group}_attributes")
    constant = CONVENTIONS[name].replace(".", "_").upper()
    assert getattr(module, constant) == CONVENTIONS[name]
    source = Path(module.__file__ or "").read_text()
    assert not re.search(rf'^{constant}: Final = .*\n"""\n{TAKEN_BACK}', source, re.MULTILINE)


def test_the_conventions_are_those_of_a_published_schema() -> None:
    """The schema that is told to collectors is one that OpenTelemetry has published."""
    assert names.SCHEMA_URL in {each.value for each in Schemas}
    assert len(CONVENTIONS) >= 10


@pytest.mark.parametrize("name", sorted(set(GIVEN) - {"SCHEMA_URL"}))
def test_every_name_is_given_somewhere(name: str) -> None:
    """No name stands in the table that nothing in the program gives."""
    used = [path for path in ROUTER.rglob("*.py") if re.search(rf"\bnames\.{name}\b", path.read_text())]
    assert used


def test_every_metric_is_made_somewhere() -> None:
    """No metric stands in the table that nothing sets."""
    sources = "".join(path.read_text() for path in ROUTER.rglob("*.py") if path != Path(names.__file__))
    assert [name for name in names.METRICS if f'"{name}"' not in sources] == []


def test_a_made_up_method_is_other() -> None:
    """A caller cannot put words of its own into what is told."""
    assert (names.method("PATCH"), names.method("HELLO")) == ("PATCH", "_OTHER")
