"""Data of policies in several documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigError
from router.policy.folder import find
from router.policy_data import merged
from router.workspace import parse, read
from router.yaml_source import read_yaml
from tests.golden.config.conftest import ENVIRONMENT, GOOD, REGISTRY

ROLES = "lockgate:\n  config:\n    roles: {clerk: [eu]}\n"
FLOORS = "lockgate:\n  config:\n    floors: {low: 0.5}\n"
TWICE = "lockgate:\n  config:\n    roles:\n      clerk: [us]\n"


def together(*texts: str):
    documents = [read_yaml(f"{place}.yaml", text.encode(), None)[0] for place, text in enumerate(texts)]
    return merged([each for each in documents if each is not None])


def test_documents_are_one() -> None:
    """Mappings are put together at any depth."""
    value, faults = together(ROLES, FLOORS, "lockgate: {config: {roles: {manager: [us]}}}\n", "")
    assert value == {"lockgate": {"config": {"roles": {"clerk": ["eu"], "manager": ["us"]}, "floors": {"low": 0.5}}}}
    assert faults == []


def test_a_key_that_comes_twice_is_refused_where_it_is_and_was() -> None:
    """Neither the first nor the last silently wins, not even where they say the same."""
    for second in (TWICE, TWICE.replace("us", "eu")):
        (fault,) = together(ROLES, second)[1]
        assert str(fault) == "1.yaml:4: The key 'lockgate.config.roles.clerk' is in '0.yaml' already; give it once."


def test_a_mapping_and_something_else_are_two() -> None:
    """They cannot be put together."""
    assert len(together(ROLES, "lockgate: {config: {roles: [clerk]}}\n")[1]) == 1


def test_a_document_must_be_a_mapping() -> None:
    """And an empty one is nothing."""
    assert [str(each) for each in together("- a\n")[1]] == ["0.yaml:1: The file must be a mapping of keys to values."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {**GOOD, "tables/a/roles.yaml": ROLES, "floors.yaml": FLOORS, "tables/.draft.yaml": TWICE, "tables/notes.txt": "x"}
    files["lockgate.yaml"] = "version: 1\npolicy: {data: [floors.yaml, tables]}\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def parsed(folder: Path):
    return parse(read(folder, ENVIRONMENT), ENVIRONMENT, REGISTRY)


def test_a_workspace_names_files_and_folders(folder: Path) -> None:
    """The commands of authors read the same."""
    found = parsed(folder)
    assert found.policy_data == {"lockgate": {"config": {"roles": {"clerk": ["eu"]}, "floors": {"low": 0.5}}}}
    assert find(None, folder).data == found.policy_data


def test_each_document_is_part_of_the_policies_digest_and_of_no_other(folder: Path) -> None:
    """So a changed table is other policies, and not another catalog."""
    before = parsed(folder).digests
    (folder / "tables" / "a" / "roles.yaml").write_text(ROLES.replace("eu", "us"))
    after = parsed(folder).digests
    assert (before.policy != after.policy, before.catalog == after.catalog) == (True, True)


def test_what_is_named_must_be_there(folder: Path) -> None:
    """By file and line of the configuration."""
    (folder / "floors.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        parsed(folder)
    assert caught.value.faults == ("lockgate.yaml:2: The file 'floors.yaml' does not exist.",)


def test_the_same_key_in_two_files_is_a_fault_of_the_workspace(folder: Path) -> None:
    """As the reload would say it."""
    (folder / "tables" / "b.yaml").write_text(TWICE)
    with pytest.raises(ConfigError) as caught:
        parsed(folder)
    assert caught.value.faults == (
        "tables/b.yaml:4: The key 'lockgate.config.roles.clerk' is in 'tables/a/roles.yaml' already; give it once.",
    )
