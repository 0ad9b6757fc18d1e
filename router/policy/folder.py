"""A folder of policies as its authors see it: rules, tests and data, by the paths that faults are named by."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

import router
from router.bundle.content import package_path
from router.errors import ConfigError
from router.faults import Document, Fault, Loc
from router.library import adopt, is_shipped
from router.policy_data import POLICY_DATA, data_places, files_below, merged
from router.policy_sources import MAX_BYTES, MAX_FILES, TEST_SUFFIX, policy_library, policy_paths
from router.snapshot import CONFIG_FILE
from router.yaml_source import decode, read_yaml

FOLDER = "policies"
INPUT_SCHEMA = "schemas/input.json"


@dataclass(frozen=True, slots=True)
class PolicyFolder:
    """`policies` and `tests` are texts by path; `data` is what `data_file` holds, and empty where there is none. `made` are policies that
    nobody wrote, `documents` what the data was read from."""

    path: Path
    policies: Mapping[str, str]
    tests: Mapping[str, str]
    data: Mapping[str, Any]
    data_file: str
    made: frozenset[str] = frozenset()
    documents: tuple[Document, ...] = ()

    def value(self, path: Loc) -> Any:
        """What the data has there; None for nothing."""
        value: Any = self.data
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def data_fault(self, loc: Loc, sentence: str) -> Fault:
        """In the document that has it, of several."""
        with_it = (each for each in self.documents if each.real(loc) == loc)
        return next(with_it, Document(self.data_file, None)).fault(loc, sentence)


def find(folder: Path | None, config: Path, data: Path | None = None) -> PolicyFolder:
    """The folder that is named, or else the workspace's; `data` in place of its own. What the workspace adopts from the library is there,
    too: the workspace that the folder belongs to, or else the one of `config`. Raises ConfigError."""
    if folder is not None:
        found = read_folder(folder, data or folder / POLICY_DATA, os.fspath(folder))
        return adopting(found, library_of(folder, config))
    file = config / CONFIG_FILE if config.is_dir() else config
    if not file.is_file():
        raise ConfigError(f"{file}:1: The file does not exist; name the folder of the policies, or the workspace with --config.")
    settings = _settings(file)
    name, named = policy_paths(settings)
    places = [file.parent / each for place in data_places(name, named) for each in files_below(file.parent, place)]
    found = read_folder(file.parent / name, [data] if data is not None else places, os.path.normpath(name))
    return adopting(found, policy_library(settings))


def adopting(folder: PolicyFolder, names: Sequence[str]) -> PolicyFolder:
    """The folder with packages of the library, their tests among them. Raises ConfigError."""
    files = adopt(folder.policies, names)
    own = {package_path(path, text) for path, text in folder.tests.items()}
    tests = {path: text for path, text in files.tests.items() if package_path(path, text) not in own}
    return replace(folder, policies={**folder.policies, **files.policies}, tests={**folder.tests, **tests}, made=files.made)


def library_of(folder: Path, config: Path) -> list[str]:
    """The packages that are adopted by the workspace to which the folder belongs, or else by the one of `config`."""
    return policy_library(_workspace_of(folder, config))


def _workspace_of(folder: Path, config: Path) -> Mapping[str, Any]:
    """The configuration beside the folder, where that is the one of whose workspace it is; else the one that is named, if it is there."""
    beside = folder.absolute().parent / CONFIG_FILE
    if beside.is_file() and folder.is_dir():
        settings = _settings(beside)
        place = beside.parent / policy_paths(settings)[0]
        if place.is_dir() and place.samefile(folder):
            return settings
    file = config / CONFIG_FILE if config.is_dir() else config
    return _settings(file) if file.is_file() else {}


def _settings(file: Path) -> Mapping[str, Any]:
    document, faults = read_yaml(file.name, file.read_bytes(), os.environ)
    if document is None or not isinstance(document.value, dict):
        raise ConfigError(*map(str, faults or [Fault(file.name, 1, "The file must be a mapping of keys to values.")]))
    return document.value


def read_folder(folder: Path, data: Path | Sequence[Path], name: str | None = None) -> PolicyFolder:
    """`name` stands before the paths of the files; several files of data are one document. Raises ConfigError with every fault."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}:1: The folder does not exist.")
    faults: list[Fault] = []
    texts: dict[str, str] = {}
    for relative in _rego_files(folder):
        path = os.path.normpath(os.path.join(name if name is not None else os.fspath(folder), relative))
        texts[path], found = decode(path, _read(folder / relative, path))
        faults += found
    documents: list[Document] = []
    for each in [data] if isinstance(data, Path) else data:
        shown = os.path.normpath(os.path.join(name, os.path.relpath(each, folder))) if name is not None else os.fspath(each)
        document, found = _data(each, shown)
        documents.append(document)
        faults += found
    value, found = merged(documents)
    if faults or found:
        raise ConfigError(*map(str, [*faults, *found]))
    tests = {path: text for path, text in texts.items() if path.endswith(TEST_SUFFIX)}
    return PolicyFolder(
        folder,
        {path: text for path, text in texts.items() if path not in tests},
        tests,
        value,
        documents[0].file if documents else POLICY_DATA,
        documents=tuple(documents),
    )


def input_schema() -> Mapping[str, Any]:
    """Of what this Lockgate tells its policies, whatever a folder has a copy of. Raises ConfigError."""
    file = shipped() / INPUT_SCHEMA
    try:
        schema: Mapping[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}:1: The schema that belongs to Lockgate cannot be read; install Lockgate again.") from error
    return schema


def shipped() -> Path:
    """The policies that were installed with Lockgate, beside its packages."""
    return Path(router.__file__).parents[1] / FOLDER


def _rego_files(folder: Path) -> list[str]:
    found: list[str] = []
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_shipped(Path(directory, name)))
        found += [os.path.relpath(os.path.join(directory, name), folder) for name in _visible(names)]
        if len(found) > MAX_FILES:
            raise ConfigError(f"{folder}:1: The folder has more than {MAX_FILES} policies.")
    return sorted(found)


def _visible(names: list[str]) -> Iterator[str]:
    return (name for name in names if name.endswith(".rego") and not name.startswith("."))


def _read(file: Path, shown: str) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{shown}:1: The file cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{shown}:1: The file is larger than {MAX_BYTES >> 20} MiB.")
    return content


def _data(file: Path, shown: str) -> tuple[Document, list[Fault]]:
    """As OPA would read it: nothing is filled in from the environment."""
    if not file.exists():
        return Document(shown, None), []
    document, faults = read_yaml(shown, _read(file, shown), None)
    return document if document is not None else Document(shown, None), faults
