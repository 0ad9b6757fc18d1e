"""The data that policies decide by, in one file or several: thresholds, roles and tiers may each be a document of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from router.faults import Document, Fault, Loc, dotted

POLICY_DATA = "data.yaml"
SUFFIXES = (".yaml", ".yml", ".json")


def named_data(policy: Mapping[str, Any]) -> list[str]:
    """What a configuration's `policy.data` names: a file or a folder, or several; none where it names nothing."""
    data = policy.get("data")
    return [each for each in (data if isinstance(data, list | tuple) else [data]) if isinstance(each, str) and each]


def data_places(folder: str, named: Sequence[str]) -> list[str]:
    """Where the policies' data is: where the configuration says, else, as OPA has it, at the root of their folder."""
    return [os.path.normpath(each) for each in named] or [os.path.normpath(os.path.join(folder, POLICY_DATA))]


def files_below(root: Path, place: str) -> list[str]:
    """The documents in a folder, in the order of their paths; the place itself where it is none."""
    if not (root / place).is_dir():
        return [place]
    found: list[str] = []
    for directory, folders, names in os.walk(root / place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.relpath(os.path.join(directory, name), root) for name in names if is_document(name)]
    return sorted(found)


def is_document(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def held_files(files: Iterable[str], place: str) -> list[str]:
    """As `files_below`, of files by their paths."""
    known = sorted(files)
    return [place] if place in known else [name for name in known if name.startswith(f"{place}/") and is_document(os.path.basename(name))]


def merged(documents: Sequence[Document]) -> tuple[dict[str, Any], list[Fault]]:
    """All documents as one; a key that two of them have is a fault, wherever it is no mapping in both."""
    whole: dict[str, Any] = {}
    owners: dict[Loc, str] = {}
    faults: list[Fault] = []
    for document in documents:
        value = document.value
        if isinstance(value, dict):
            faults += _into(whole, value, document, (), owners)
        elif value is not None:
            faults.append(Fault(document.file, 1, "The file must be a mapping of keys to values."))
    return whole, faults


def _into(whole: dict[str, Any], value: Mapping[str, Any], document: Document, above: Loc, owners: dict[Loc, str]) -> Iterator[Fault]:
    for key, inner in value.items():
        loc = (*above, key)
        if key not in whole:
            whole[key] = _copied(inner)
            owners.update(dict.fromkeys(_locs(inner, loc), document.file))
        elif isinstance(whole[key], dict) and isinstance(inner, dict):
            yield from _into(whole[key], inner, document, loc, owners)
        else:
            yield document.fault(loc, f"The key '{dotted(loc).lstrip('.')}' is in '{owners[loc]}' already; give it once.")


def _copied(value: Any) -> Any:
    """Mappings anew, for others are put into them."""
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _locs(value: Any, loc: Loc) -> Iterator[Loc]:
    yield loc
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _locs(inner, (*loc, key))
