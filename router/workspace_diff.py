"""What one workspace says that another one does not: by key, as it is in force, defaults included.

Values from the environment are shown as they are written, `${NAME}`, and secrets as `(secret)`; that one of them is another one is still
told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from router.faults import Loc, dotted
from router.secret import HIDDEN, Secret, secrets_in
from router.snapshot import Snapshot
from router.utterances import beside
from router.workspace import Workspace
from router.yaml_source import read_yaml

MOST_CHARS = 160
CHANGED = "(changed)"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """None where there is no such key."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: object
    shown: str


def differences(before: tuple[Snapshot, Workspace], after: tuple[Snapshot, Workspace], environment: Mapping[str, str]) -> list[Difference]:
    """In the order of keys."""
    one, other = _leaves(*before, environment), _leaves(*after, environment)
    return sorted(_compared(one, other))


def _compared(one: Mapping[str, _Leaf], other: Mapping[str, _Leaf]) -> Iterator[Difference]:
    for key in one.keys() | other.keys():
        was, now = one.get(key), other.get(key)
        if was is None or now is None:
            yield Difference(key, None if was is None else was.shown, None if now is None else now.shown)
        elif was.value != now.value:
            same = was.shown == now.shown  # both hidden, or too long to show where they differ
            yield Difference(key, was.shown, f"{now.shown} {CHANGED}" if same else now.shown)


def _leaves(snapshot: Snapshot, workspace: Workspace, environment: Mapping[str, str]) -> dict[str, _Leaf]:
    config, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], environment)
    catalog_file = beside(snapshot.config, workspace.config.catalog)
    catalog, _ = read_yaml(catalog_file, snapshot.files.get(catalog_file, b""), environment)
    written = config.written if config is not None else {}
    parts: list[tuple[str, Loc, BaseModel, Mapping[Loc, str]]] = [
        ("", (), workspace.config, written),
        ("catalog", (), workspace.catalog, catalog.written if catalog is not None else {}),
        ("", ("classifier", "encoder"), workspace.encoder, written),
        ("", ("classifier", "index"), workspace.index, written),
        ("", ("policy", "engine"), workspace.engine, written),
        ("", ("audit", "store"), workspace.ledger_store, written),
    ]
    parts += [("catalog", ("destinations", name), each, parts[1][3]) for name, each in workspace.destinations.items()]
    found = {key: leaf for prefix, loc, model, texts in parts for key, leaf in _model(prefix, loc, model, texts)}
    found |= {f"policies/{path}": _Leaf(text, f"{len(text.splitlines())} lines") for path, text in workspace.policies.items()}
    return found | dict(_flat("policy data", (), workspace.policy_data, {}, {}))


def _model(prefix: str, loc: Loc, model: BaseModel, written: Mapping[Loc, str]) -> Iterator[tuple[str, _Leaf]]:
    secrets = dict(secrets_in(loc, model))
    for name, value in model.model_dump(mode="json", by_alias=True).items():
        yield from _flat(_joined(prefix, dotted((*loc, name))), (*loc, name), value, written, secrets)


def _flat(key: str, loc: Loc, value: Any, written: Mapping[Loc, str], secrets: Mapping[Loc, Secret]) -> Iterator[tuple[str, _Leaf]]:
    """Lists of entries by their names where they have some, so that one that is put in between changes nothing of the others."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(f"{key}.{name}", (*loc, name), each, written, secrets)
        return
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        named = len({each.get("name") for each in value} - {None}) == len(value)
        for index, each in enumerate(value):
            yield from _flat(f"{key}[{each['name'] if named else index}]", (*loc, index), each, written, secrets)
        return
    yield key, _leaf(loc, value, written, secrets)


def _leaf(loc: Loc, value: Any, written: Mapping[Loc, str], secrets: Mapping[Loc, Secret]) -> _Leaf:
    if loc in secrets:
        return _Leaf(secrets[loc], HIDDEN)
    texts = [text for place, text in written.items() if place[: len(loc)] == loc]
    text = ", ".join(texts) if texts else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _Leaf(value, text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…")


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
