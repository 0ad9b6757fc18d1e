from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from router.catalog import Catalog
from router.cli.main import run
from router.cli.reference import settings
from router.cli.schema import catalog_schema, config_schema, reference_files
from router.config import Config
from router.yaml_source import read_yaml

ROOT = Path(__file__).parents[3]
STARTER = ROOT / "router" / "cli" / "starter"


@pytest.mark.parametrize("name", ["config.schema.json", "catalog.schema.json", "configuration.md", "commands.md"])
def test_the_reference_is_up_to_date(name: str) -> None:
    """docs/reference is what the models say; `python -m router.cli.schema` writes it again."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == reference_files()[name]


@pytest.mark.parametrize("made", [config_schema(), catalog_schema()], ids=["config", "catalog"])
def test_the_schemas_are_json_schemas(made: dict[str, Any]) -> None:
    """They are valid under the dialect that they name."""
    Draft202012Validator.check_schema(made)


@pytest.mark.parametrize(
    ("file", "made"),
    [
        (STARTER / "lockgate.yaml", config_schema()),
        (STARTER / "catalog.yaml", catalog_schema()),
        (ROOT / "examples" / "halden" / "catalog.yaml", catalog_schema()),
    ],
    ids=["starter config", "starter catalog", "halden catalog"],
)
def test_the_schemas_accept_what_we_ship(file: Path, made: dict[str, Any]) -> None:
    """An editor that checks by schema does not complain about our own files."""
    document, faults = read_yaml(file.name, file.read_bytes(), {})
    assert faults == []
    assert document is not None
    Draft202012Validator(made).validate(document.value)


@pytest.mark.parametrize(
    ("changed", "made"),
    [
        ({"version": 1, "gatewy": {}}, config_schema()),
        ({"version": 1, "classifier": {"encoder": {"adapter": "minilm", "speed": 1}}}, config_schema()),
        ({"version": 1, "routes": {}, "destinations": {"a": {"adapter": "http", "url": "x"}}}, catalog_schema()),
    ],
    ids=["unknown key", "unknown adapter setting", "unknown destination setting"],
)
def test_the_schemas_refuse_unknown_keys(changed: dict[str, Any], made: dict[str, Any]) -> None:
    """An editor marks a slip of the pen before `lockgate check` does."""
    assert not Draft202012Validator(made).is_valid(changed)


def test_every_setting_has_a_heading() -> None:
    """Nothing can be configured that the reference does not name."""
    text = reference_files()["configuration.md"]
    for schema in (config_schema(), catalog_schema()):
        found = list(settings(schema))
        assert len(found) > 50
        assert all(f"### `{setting.path}`" in text for setting in found)


def test_every_setting_says_what_it_is_for() -> None:
    """Each setting of our own models has a sentence."""
    wordless = [setting.path for schema in (config_schema(), catalog_schema()) for setting in settings(schema) if not setting.description]
    assert [path for path in wordless if not path.startswith("destinations.")] == []


def test_the_schemas_know_every_top_level_key() -> None:
    """No field of the models is lost on the way into the schema."""
    assert set(config_schema()["properties"]) == set(Config.model_fields)
    assert set(catalog_schema()["properties"]) == set(Catalog.model_fields)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """`lockgate schema catalog` is the published file."""
    assert run(["schema", "catalog"]) == 0
    assert json.loads(capsys.readouterr().out) == catalog_schema()


def test_defaults_are_written_as_a_file_would_have_them() -> None:
    """Durations, sizes and addresses in the schema have their units."""
    defaults = {setting.path: setting.default for setting in settings(config_schema())}
    assert defaults["gateway.limits.header_timeout"] == "10s"
    assert defaults["gateway.limits.view"] == "64KiB"
    assert defaults["gateway.listen"] == "127.0.0.1:8080"
    assert defaults["identity.jwt[].leeway"] == "30s"
