"""The exact bytes that decisions depend on, as one value that can be handed to another process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from router.bundle.versions import OVERRIDE, Override
from router.config import Config
from router.errors import ConfigError
from router.policy_sources import (
    add_bundle,
    add_file,
    adopted,
    marked,
    overridden,
    policy_sources,
    read_file,
    sources_digest,
    substituted,
    text_or,
)
from router.secret import InVault
from router.utterances import beside
from router.yaml_source import read_yaml

CONFIG_FILE = "lockgate.yaml"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`files` maps paths relative to `root` to bytes; `config` is the name of the configuration file in it. `root` is where secrets, keys
    and state are; it is no part of the digest, and neither are values from the environment. `own` is `files` without what the policies'
    library adds, where this process read them itself. `secrets` are what was read from a vault, no part of the digest either."""

    root: Path
    config: str
    files: Mapping[str, bytes]
    own: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    secrets: Mapping[InVault, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def digest(self) -> str:
        return digest(self.files)

    def to_bytes(self) -> bytes:
        packed: bytes = msgpack.packb([str(self.root), self.config, dict(self.files), _packed(self.secrets)])
        return packed

    @staticmethod
    def from_bytes(data: bytes) -> Snapshot:
        root, config, files, secrets = msgpack.unpackb(data)
        return Snapshot(Path(root), config, files, secrets={InVault(path, name): value for path, name, value in secrets})


def _packed(secrets: Mapping[InVault, str]) -> list[tuple[str, str, str]]:
    return [(place.path, place.field, value) for place, value in secrets.items()]


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the sorted paths and contents, each preceded by its length, so that nothing can move between them."""
    total = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode("utf-8", "surrogateescape"), files[path]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def read(path: Path, environment: Mapping[str, str], downloaded: bytes | None = None, *, override: bool = True) -> Snapshot:
    """Reads the workspace that `path` (its folder or its configuration file) names. A file that is referred to and does not exist is left
    out: `parse` says where. `downloaded` is a bundle of policies that takes the place of the one that was kept. `override`: with the
    version of the policies that was put in force over the workspace's own, if one was. Raises ConfigError for what cannot be read at
    all."""
    file = path / CONFIG_FILE if path.is_dir() else path
    root, name = file.parent.absolute(), file.name
    if not file.exists():
        raise ConfigError(f"{file}:1: The file does not exist; `lockgate init` makes a workspace to start from.")
    files = {name: read_file(root, name)}
    config = _mapping(name, files[name], environment)
    catalog_file = os.path.normpath(text_or(config.get("catalog"), Config.model_fields["catalog"].default))
    for relative in [catalog_file, *policy_sources(config, root), *_measured(config)]:
        add_file(files, root, relative)
    add_bundle(files, root, config, downloaded)
    catalog = _mapping(catalog_file, files.get(catalog_file, b""), environment)
    for reference in _example_files(catalog):
        add_file(files, root, beside(catalog_file, reference))
    if isinstance(catalog.get("learned"), str):
        add_file(files, root, beside(catalog_file, catalog["learned"]))
    own = overridden(files, config, root) if override else files
    return _adopting(Snapshot(root, name, own), config)


def with_policies(snapshot: Snapshot, environment: Mapping[str, str], archive: bytes, override: Override | None = None) -> Snapshot:
    """The same workspace with an archive's policies in place of its own; `override` says why, where they are to decide. Raises
    BundleError."""
    config = settings_of(snapshot, environment)
    own = {name: content for name, content in snapshot.own.items() if name != OVERRIDE}
    found = substituted(own, config, archive)
    if override is not None:
        found = marked(own, found, config, override)
    return _adopting(Snapshot(snapshot.root, snapshot.config, found, secrets=snapshot.secrets), config)


def settings_of(snapshot: Snapshot, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """The configuration as it is written, not validated; empty where it cannot be read."""
    return _mapping(snapshot.config, snapshot.files[snapshot.config], environment)


def written_digest(snapshot: Snapshot, environment: Mapping[str, str]) -> str:
    """Of the policies that decide, as they are written: the same whether the workspace has them itself or they were put over its own."""
    own = {name: content for name, content in snapshot.own.items() if name != OVERRIDE}
    return sources_digest(own, settings_of(snapshot, environment))


def _adopting(own: Snapshot, config: Mapping[str, Any]) -> Snapshot:
    return Snapshot(own.root, own.config, {**own.files, **adopted(own.files, config)}, own.files, own.secrets)


def watched(snapshot: Snapshot) -> frozenset[Path]:
    """The files whose change calls for another look, and the folders in which one may appear."""
    files = {snapshot.root / name for name in snapshot.files}
    return frozenset(files | {file.parent for file in files})


def _mapping(name: str, data: bytes, environment: Mapping[str, str]) -> Mapping[str, Any]:
    document, _ = read_yaml(name, data, environment)
    return document.value if document is not None and isinstance(document.value, dict) else {}


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
