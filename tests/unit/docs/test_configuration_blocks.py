"""What pages show of a configuration or a catalog is taken, as far as that can be said without the files and parts that it names."""

from __future__ import annotations

import json
import re
import textwrap
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from router.catalog import Catalog
from router.config import Config
from router.errors import ConfigError
from router.faults import Fault
from router.workspace import parse, read
from router.yaml_source import read_yaml
from tests.golden.config.conftest import GOOD
from tests.unit.docs.pages import ROOT, everything

FENCE = re.compile(r"^(?P<indent> *)```yaml\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
NOT_OURS = {"kubernetes.md"}  # values of the chart, and of Prometheus' adapter
GENERATED = {"configuration.md", "commands.md"}
KEYS: Mapping[type, frozenset[str]] = {
    model: frozenset(each.alias or name for name, each in model.model_fields.items()) for model in (Config, Catalog)
}
FILES = {Config: "lockgate.yaml", Catalog: "catalog.yaml"}
# What a page's reader has, and this test has not.
THEIRS = re.compile(
    r"There is no (destination|intent|route|bundle at) |The file '[^']+' does not exist|cannot be read: No such file"
    r"|is adopted, and its settings|these policies do not ask|No listener asks for certificates"
)


class Everything(dict[str, str]):
    """An environment in which every variable is set, each to something else."""

    def get(self, name: str, default: Any = None) -> str:
        if name.endswith("_URL"):
            return f"postgresql://node@127.0.0.1/{name.lower()}"
        return "whsec_" + b64encode(name.encode().ljust(30, b".")).decode()


def blocks() -> list[Any]:
    found = []
    for page in everything():
        if page.name in NOT_OURS | GENERATED:
            continue
        text = page.read_text(encoding="utf-8")
        for fence in FENCE.finditer(text):
            if fence["text"].startswith("destinations:") and page.parent.name == "destinations":
                continue  # `test_destination_pages.py` has them, without their clients, which take seconds to load
            place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, fence.start()) + 1}"
            found.append(pytest.param(textwrap.dedent(fence["text"]), id=place))
    return found


BLOCKS = blocks()


def split(text: str) -> tuple[dict[type, dict[str, Any]], list[Fault]]:
    """The block's keys by whose they are; nothing where one is nobody's."""
    document, faults = read_yaml("block", text.encode(), None)
    value = document.value if document is not None else None
    if not isinstance(value, dict) or not value or value.keys() - KEYS[Config] - KEYS[Catalog]:
        return {}, faults
    return {model: {name: each for name, each in value.items() if name in keys} for model, keys in KEYS.items()}, faults


def faults_of(text: str, folder: Path) -> list[str]:
    parted, faults = split(text)
    if faults or not parted:
        return [str(each) for each in faults]
    for name, content in GOOD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(
            content.replace("adapter: tiny, url: 'http://127.0.0.1:9000'", "adapter: http, upstreams: [{url: 'http://127.0.0.1:9000'}]")
        )
    for model, file in FILES.items():
        if parted[model]:
            document, _ = read_yaml(file, (folder / file).read_bytes(), None)
            assert document is not None
            value = {name: joined(document.value.get(name), each) for name, each in parted[model].items()}
            (folder / file).write_text(json.dumps({**document.value, **value}))
    try:
        parse(read(folder, Everything()), Everything())
    except ConfigError as error:
        return [each for each in error.faults if not THEIRS.search(each)]
    return []


def joined(before: Any, after: Any) -> Any:
    return {**before, **after} if isinstance(before, dict) and isinstance(after, dict) else after


@pytest.mark.parametrize("text", BLOCKS)
def test_a_block_is_taken(text: str, tmp_path: Path) -> None:
    """Who copies it is told of nothing but of what is theirs to add."""
    assert faults_of(text, tmp_path) == []


def test_blocks_are_found_and_what_is_wrong_with_one_is_noticed(tmp_path: Path) -> None:
    """Those that are about something else are few."""
    assert sum(bool(split(each.values[0])[0]) for each in BLOCKS) > 55
    assert faults_of("nodes: {}\naudit:\n  store: {adapter: postgres, url: ${LEDGER_URL}}\n", tmp_path) != []
    assert faults_of("gateway: {lisen: 127.0.0.1:8080}\n", tmp_path) != []
