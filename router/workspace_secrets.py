"""Reads a workspace's secrets from the vault: all of them at once, before anything is made of the workspace. What was read goes on with the
snapshot, so that a worker that starts while the vault is down serves with what the others have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.errors import ConfigError, SecretError
from router.ports import SecretStore
from router.secret import InVault
from router.snapshot import Snapshot
from router.vaulted import Use, Vaulted, field_of
from router.workspace import Workspace, parse

Fields = Mapping[str, object] | SecretError


def parse_with_secrets(snapshot: Snapshot, environment: Mapping[str, str] = os.environ) -> tuple[Snapshot, Workspace]:
    """As `parse`, with every secret at hand. Blocks. Raises ConfigError; SecretError where only a secret is missing, with each place that
    wants it, by file and line."""
    vaulted = Vaulted(snapshot.root, {})
    workspace = parse(snapshot, environment, vaulted=vaulted)
    if not vaulted.uses:
        return snapshot, workspace
    full = replace(snapshot, secrets=_read(vaulted.uses, _opened(vaulted)))
    return full, parse(full, environment)  # again, for what can be checked only of a value


def _read(uses: Sequence[Use], store: SecretStore | SecretError) -> dict[InVault, str]:
    """Each path once, so that the fields of one secret are of one version."""
    found, faults, read = dict[InVault, str](), list[str](), dict[str, Fields]()
    for use in uses:
        path = use.place.path
        if path not in read:
            read[path] = _fields(store, path)
        fields = read[path]
        try:
            if isinstance(fields, SecretError):
                raise fields
            found[use.place] = field_of(fields, use.place)
        except SecretError as error:
            faults.append(str(use.fault(error)))
    if faults:
        raise SecretError(*faults)
    return found


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
