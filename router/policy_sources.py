"""Which files of a workspace are the policies that decide: a folder's, a bundle's, or an earlier or newer version that was put in force
over them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from router.bundle.archive import pack, read_folder, unpack
from router.bundle.content import merged_data
from router.bundle.documents import DATA
from router.bundle.versions import OVERRIDE, Override, Versions
from router.errors import BundleError, ConfigError
from router.library import adopt, is_shipped
from router.policy_data import POLICY_DATA, data_places, files_below, named_data

MAX_BYTES = 10 << 20
MAX_FILES = 10_000
REGO = ".rego"
TEST_SUFFIX = "_test.rego"
DOWNLOADED = "(downloaded bundle)"  # what a server gave, which is nowhere in the workspace
ARCHIVE = "The version of the policies"


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


def policy_sources(config: Mapping[str, Any], root: Path) -> list[str]:
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


def add_bundle(files: dict[str, bytes], root: Path, config: Mapping[str, Any], downloaded: bytes | None) -> None:
    bundle = _bundle(config)
    source = text_or(bundle.get("from"), "") if bundle is not None else ""
    if "://" in source:
        kept = kept_bundle(text_or(config.get("state"), "state"), source)
        if downloaded is not None or (root / kept).is_file():
            files[DOWNLOADED] = downloaded if downloaded is not None else read_file(root, kept)
    elif source:
        place = os.path.normpath(source)
        add_file(files, root, place)
        if (root / place).is_dir():
            files |= {f"{place}/{name}": content for name, content in read_folder(root / place, place).items()}


def policy_paths(config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The folder of the policies, and the files and folders of their data that are named."""
    policy = config.get("policy")
    settings = policy if isinstance(policy, dict) else {}
    return text_or(settings.get("path"), "policies"), named_data(settings)


def policy_library(config: Mapping[str, Any]) -> list[str]:
    """The packages that are adopted from the library; what is no name is for `parse` to say."""
    policy = config.get("policy")
    names = policy.get("library") if isinstance(policy, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def adopted(files: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, bytes]:
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


def versions_of(config: Mapping[str, Any], root: Path) -> Versions:
    """Where a workspace's versions are kept, as its configuration says before it is validated."""
    return Versions(root / text_or(config.get("state"), "state"))


def overridden(files: Mapping[str, bytes], config: Mapping[str, Any], root: Path) -> dict[str, bytes]:
    """The files with the version that was put in force over them, if one was. Where they are that version by now they are left alone, and
    so they are where the configuration has its policies decided elsewhere. Raises ConfigError where it cannot be told or read."""
    versions = versions_of(config, root)
    override = versions.override()
    if override is None or not is_ours(config):
        return dict(files)
    return marked(files, substituted(files, config, versions.archive(override.archive)), config, override)


def marked(files: Mapping[str, bytes], found: Mapping[str, bytes], config: Mapping[str, Any], override: Override) -> dict[str, bytes]:
    """`found` with what says why it decides in place of `files`. A folder that says the same needs none of that; a bundle does: it may be
    one that somebody went back to, and older than what was in force."""
    return {**found, OVERRIDE: override.to_json()} if found != files or _bundle(config) is not None else dict(found)


def is_ours(config: Mapping[str, Any]) -> bool:
    """Whether the policies are the workspace's at all, and not those that an OPA server has."""
    policy = config.get("policy")
    engine = policy.get("engine") if isinstance(policy, dict) else None
    return not (isinstance(engine, dict) and engine.get("adapter") == "opa")


def substituted(files: Mapping[str, bytes], config: Mapping[str, Any], archive: bytes) -> dict[str, bytes]:
    """The files of a workspace, before it adopts anything, with an archive's policies in place of its own: a bundle for a bundle; for a
    folder its rules, and its data where the archive has some. Data that the configuration names elsewhere stays. Raises BundleError."""
    bundle = _bundle(config)
    if bundle is not None:
        place = _place(text_or(bundle.get("from"), ""))
        return {**{name: content for name, content in files.items() if not _within(name, place)}, place: archive}
    held = unpack(archive, ARCHIVE)
    folder, named = policy_paths(config)
    names = [name for name in held if name.endswith(REGO) and not name.endswith(TEST_SUFFIX)]
    if not names:
        raise BundleError(f"{ARCHIVE} has no policy in it.")
    own = {name: content for name, content in files.items() if not name.endswith(REGO)}
    return {**own, **{os.path.normpath(f"{folder}/{name}"): held[name] for name in names}, **_data_of(held, folder, named)}


def _data_of(held: Mapping[str, bytes], folder: str, named: list[str]) -> dict[str, bytes]:
    documents = [name for name in held if name.rpartition("/")[2] in DATA]
    if not documents:
        return {}
    if named:
        raise BundleError(f"{ARCHIVE} has data itself, and 'policy.data' names other data; leave it out.")
    place = os.path.normpath(f"{folder}/{POLICY_DATA}")
    if documents == [POLICY_DATA]:
        return {place: held[POLICY_DATA]}
    return {place: data_document(merged_data(held))}


def data_document(data: Mapping[str, Any]) -> bytes:
    """As JSON, which knows numbers of any length. Raises BundleError for what no JSON document in UTF-8 can hold."""
    try:
        return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"{ARCHIVE} has data that no JSON document can hold: {error}.") from error


def archive_of(files: Mapping[str, bytes], config: Mapping[str, Any]) -> bytes:
    """The policies of a workspace, before it adopts anything, as an archive which, put in their place, gives the same files again."""
    bundle = _bundle(config)
    if bundle is not None:
        held = bundle_files(files, text_or(bundle.get("from"), ""))
        return held if isinstance(held, bytes) else pack(held or {})
    folder, named = policy_paths(config)
    data = [] if named else data_places(folder, named)
    names = [name for name in files if name.endswith(REGO) or name in data]
    return pack({os.path.relpath(name, folder): files[name] for name in names})


def sources_digest(files: Mapping[str, bytes], config: Mapping[str, Any]) -> str:
    """Of what a version takes the place of, and of nothing else: data that is named beside it may change meanwhile."""
    return hashlib.sha256(archive_of(files, config)).hexdigest()


def _place(source: str) -> str:
    return DOWNLOADED if "://" in source else os.path.normpath(source)


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}/")


def add_file(files: dict[str, bytes], root: Path, relative: str) -> None:
    if (root / relative).is_file():
        files[relative] = read_file(root, relative)


def read_file(root: Path, relative: str) -> bytes:
    """Raises ConfigError."""
    try:
        with (root / relative).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{relative}:1: The file cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{relative}:1: The file is larger than {MAX_BYTES >> 20} MiB.")
    return data


def text_or(value: Any, default: str) -> str:
    return value if isinstance(value, str) and value else default
