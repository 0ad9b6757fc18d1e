"""The exact bytes that decisions depend on, as one value that can be handed to another process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from router.bundle.archive import read_folder
from router.config import Config
from router.errors import ConfigError
from router.library import adopt, is_shipped
from router.policy_data import data_places, files_below, named_data
from router.utterances import beside
from router.yaml_source import read_yaml

CONFIG_FILE = "lockgate.yaml"
MAX_BYTES = 10 << 20
MAX_FILES = 10_000
TEST_SUFFIX = "_test.rego"
DOWNLOADED = "(downloaded bundle)"  # what a server gave, which is nowhere in the workspace


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`files` maps paths relative to `root` to bytes; `config` is the name of the configuration file in it. `root` is where secrets, keys
    and state are; it is no part of the digest, and neither are values from the environment."""

    root: Path
    config: str
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return digest(self.files)

    def to_bytes(self) -> bytes:
        packed: bytes = msgpack.packb([str(self.root), self.config, dict(self.files)])
        return packed

    @staticmethod
    def from_bytes(data: bytes) -> Snapshot:
        root, config, files = msgpack.unpackb(data)
        return Snapshot(Path(root), config, files)


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the sorted paths and contents, each preceded by its length, so that nothing can move between them."""
    total = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode("utf-8", "surrogateescape"), files[path]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def read(path: Path, environment: Mapping[str, str], downloaded: bytes | None = None) -> Snapshot:
    """Reads the workspace that `path` (its folder or its configuration file) names. A file that is referred to and does not exist is left
    out: `parse` says where. `downloaded` is a bundle of policies that takes the place of the one that was kept. Raises ConfigError for what
    cannot be read at all."""
    file = path / CONFIG_FILE if path.is_dir() else path
    root, name = file.parent.absolute(), file.name
    if not file.exists():
        raise ConfigError(f"{file}:1: The file does not exist; `lockgate init` makes a workspace to start from.")
    files = {name: _read(root, name)}
    config = _mapping(name, files[name], environment)
    catalog_file = os.path.normpath(_text(config.get("catalog"), Config.model_fields["catalog"].default))
    for relative in [catalog_file, *_policies(config, root), *_measured(config)]:
        _add(files, root, relative)
    _add_bundle(files, root, config, downloaded)
    files |= _adopted(files, config)
    catalog = _mapping(catalog_file, files.get(catalog_file, b""), environment)
    for reference in _example_files(catalog):
        _add(files, root, beside(catalog_file, reference))
    return Snapshot(root, name, files)


def policy_files(root: Path, folder: str) -> list[str]:
    """The policies in a folder, tests left out: they decide nothing."""
    found: list[str] = []
    for directory, folders, names in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_shipped(Path(directory, name)))
        rego = (name for name in names if name.endswith(".rego") and not name.endswith(TEST_SUFFIX) and not name.startswith("."))
        found += [os.path.relpath(os.path.join(directory, name), root) for name in rego]
        if len(found) > MAX_FILES:
            raise ConfigError(f"{folder}:1: The folder has more than {MAX_FILES} policies.")
    return sorted(found)


def kept_bundle(state: str, source: str) -> str:
    """Where what a server gave is kept, beside the state: by its URL, so that another server's is never taken for it."""
    return os.path.normpath(os.path.join(state, "bundles", f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.tar.gz"))


def bundle_files(files: Mapping[str, bytes], source: str) -> dict[str, bytes] | bytes | None:
    """What a snapshot has of its bundle: an archive, or the files of a folder by their path in it; None where there is nothing."""
    place = DOWNLOADED if "://" in source else os.path.normpath(source)
    if place in files:
        return files[place]
    below = {name[len(place) + 1 :]: content for name, content in files.items() if name.startswith(f"{place}/")}
    return below or None


def watched(snapshot: Snapshot) -> frozenset[Path]:
    """The files whose change calls for another look, and the folders in which one may appear."""
    files = {snapshot.root / name for name in snapshot.files}
    return frozenset(files | {file.parent for file in files})


def _add(files: dict[str, bytes], root: Path, relative: str) -> None:
    if (root / relative).is_file():
        files[relative] = _read(root, relative)


def _read(root: Path, relative: str) -> bytes:
    try:
        with (root / relative).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{relative}:1: The file cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{relative}:1: The file is larger than {MAX_BYTES >> 20} MiB.")
    return data


def _mapping(name: str, data: bytes, environment: Mapping[str, str]) -> Mapping[str, Any]:
    document, _ = read_yaml(name, data, environment)
    return document.value if document is not None and isinstance(document.value, dict) else {}


def _text(value: Any, default: str) -> str:
    return value if isinstance(value, str) and value else default


def _policies(config: Mapping[str, Any], root: Path) -> list[str]:
    """Of a folder; where there is a bundle, the keys of it and the data that were named."""
    folder, data = policy_paths(config)
    bundle = _bundle(config)
    if bundle is None:
        return [*_data_files(root, data_places(folder, data)), *policy_files(root, folder)]
    keys = bundle.get("keys")
    named = [key.get("file") for key in keys.values() if isinstance(key, dict)] if isinstance(keys, dict) else []
    files = [os.path.normpath(file) for file in named if isinstance(file, str) and file]
    return [*_data_files(root, map(os.path.normpath, data)), *files]


def _data_files(root: Path, places: Iterable[str]) -> list[str]:
    return [file for place in places for file in files_below(root, place)]


def _bundle(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    policy = config.get("policy")
    bundle = policy.get("bundle") if isinstance(policy, dict) else None
    return bundle if isinstance(bundle, dict) else None


def _add_bundle(files: dict[str, bytes], root: Path, config: Mapping[str, Any], downloaded: bytes | None) -> None:
    bundle = _bundle(config)
    source = _text(bundle.get("from"), "") if bundle is not None else ""
    if "://" in source:
        kept = kept_bundle(_text(config.get("state"), "state"), source)
        if downloaded is not None or (root / kept).is_file():
            files[DOWNLOADED] = downloaded if downloaded is not None else _read(root, kept)
    elif source:
        place = os.path.normpath(source)
        _add(files, root, place)
        if (root / place).is_dir():
            files |= {f"{place}/{name}": content for name, content in read_folder(root / place, place).items()}


def policy_paths(config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The folder of the policies, and the files and folders of their data that are named."""
    policy = config.get("policy")
    settings = policy if isinstance(policy, dict) else {}
    return _text(settings.get("path"), "policies"), named_data(settings)


def policy_library(config: Mapping[str, Any]) -> list[str]:
    """The packages that are adopted from the library; what is no name is for `parse` to say."""
    policy = config.get("policy")
    names = policy.get("library") if isinstance(policy, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _adopted(files: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, bytes]:
    """The library's files are in the snapshot, so that what decides is the same in every process and in the digest. `parse` says what
    cannot be adopted; then there are none."""
    names = policy_library(config)
    if not names or _bundle(config) is not None:
        return {}
    try:
        own = {path: content.decode() for path, content in files.items() if path.endswith(".rego")}
        return {path: text.encode() for path, text in adopt(own, names).policies.items()}
    except (ConfigError, UnicodeDecodeError):
        return {}


def _measured(config: Mapping[str, Any]) -> Iterator[str]:
    """What `lockgate tune` wrote."""
    classifier = config.get("classifier")
    settings = classifier if isinstance(classifier, dict) else {}
    llm = settings.get("llm")
    for file in (settings.get("thresholds"), llm.get("calibration") if isinstance(llm, dict) else None):
        if isinstance(file, str) and file:
            yield os.path.normpath(file)


def _example_files(catalog: Mapping[str, Any]) -> Iterator[str]:
    intents = catalog.get("intents")
    holders: Iterable[Any] = [*(intents.values() if isinstance(intents, dict) else ()), catalog.get("out_of_scope")]
    for holder in holders:
        if isinstance(holder, dict) and isinstance(holder.get("examples_file"), str):
            yield holder["examples_file"]
