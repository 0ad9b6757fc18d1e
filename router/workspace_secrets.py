"""Reads a workspace's secrets from the vault: all of them at once, before anything is made of the workspace. What was read goes on with the
snapshot, so that a worker that starts while the vault is down serves with what the others have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from pydantic import BaseModel

from router.errors import ConfigError, SecretError
from router.faults import Document, Loc, dotted
from router.ports import SecretStore
from router.secret import InVault, secrets_in
from router.snapshot import Snapshot
from router.utterances import beside
from router.vaulted import Vaulted, field_of
from router.workspace import Workspace, parse
from router.yaml_source import read_yaml

Use = tuple[str, Loc, InVault]  # file, where in it, what
Fields = Mapping[str, object] | SecretError


def parse_with_secrets(snapshot: Snapshot, environment: Mapping[str, str] = os.environ) -> tuple[Snapshot, Workspace]:
    """As `parse`, with every secret at hand. Blocks. Raises ConfigError; SecretError where only a secret is missing, with each place that
    wants it, by file and line."""
    workspace = parse(snapshot, environment)
    uses = list(_uses(snapshot, workspace))
    if not uses:
        return snapshot, workspace
    vaulted = Vaulted(snapshot.root, {})
    vaulted.settings = workspace.config.secrets.vault
    found, faults = _read(uses, vaulted, lambda file: _document(snapshot, file, environment))
    if faults:
        raise SecretError(*faults)
    full = Snapshot(snapshot.root, snapshot.config, snapshot.files, snapshot.own, found)
    return full, parse(full, environment)  # again, for what can be checked only of a value


def _read(uses: list[Use], vaulted: Vaulted, document: Callable[[str], Document]) -> tuple[dict[InVault, str], list[str]]:
    """Each path once, so that the fields of one secret are of one version."""
    found, faults, read = dict[InVault, str](), list[str](), dict[str, Fields]()
    store = _opened(vaulted)
    for file, loc, place in uses:
        if place.path not in read:
            read[place.path] = _fields(store, place.path)
        fields = read[place.path]
        try:
            if isinstance(fields, SecretError):
                raise fields
            found[place] = field_of(fields, place)
        except SecretError as error:
            faults.append(str(document(file).fault(loc, f"'{dotted(loc)}' cannot be had: {error}")))
    return found, faults


def _opened(vaulted: Vaulted) -> SecretStore | SecretError:
    try:
        return vaulted.store()
    except SecretError as error:
        return error


def _fields(store: SecretStore | SecretError, path: str) -> Fields:
    if isinstance(store, SecretError):
        return store
    try:
        return store.read(path)
    except SecretError as error:
        return error
    except ConfigError as error:  # of the token
        return SecretError(f"The vault's token cannot be read: {error}")


def _uses(snapshot: Snapshot, workspace: Workspace) -> Iterator[Use]:
    for file, prefix, model in _settings(snapshot, workspace):
        for loc, secret in secrets_in(prefix, model):
            if secret.vault is not None:
                yield file, loc, secret.vault


def _settings(snapshot: Snapshot, workspace: Workspace) -> Iterator[tuple[str, Loc, BaseModel]]:
    """What was validated, and where it is written."""
    catalog = beside(snapshot.config, workspace.config.catalog)
    yield from ((catalog, ("destinations", name), each) for name, each in workspace.destinations.items())
    in_config: list[tuple[Loc, BaseModel | None]] = [
        ((), workspace.config),
        (("classifier", "encoder"), workspace.encoder),
        (("classifier", "index"), workspace.index),
        (("policy", "engine"), workspace.engine),
        (("policy", "compare", "engine"), workspace.second_engine),
        (("signals", "recogniser"), workspace.recogniser),
        (("audit", "store"), workspace.ledger_store),
        (("nodes", "store"), workspace.node_store),
        (("shared_state",), workspace.shared_state),
        *((("events", "sources", name, "consume"), each) for name, each in workspace.consumers.items()),
        *((("review", "notify", name, "through"), each) for name, each in workspace.notifiers.items()),
    ]
    yield from ((snapshot.config, loc, model) for loc, model in in_config if model is not None)


def _document(snapshot: Snapshot, file: str, environment: Mapping[str, str]) -> Document:
    document, _ = read_yaml(file, snapshot.files[file], environment)
    return document or Document(file, None)
