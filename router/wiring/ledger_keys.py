"""The configured ledger keys, opened. Everything blocks, and nothing is opened that is not configured."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from router.audit.keys.files import (
    ensure_sealing_key,
    ensure_wrapped_key,
    proven,
    read_sealing_key,
    read_wrapped_key,
    sealing_key_from_environment,
)
from router.audit.tree.checkpoint import NoteSigner
from router.config.ledger_keys import SealingKeyReference, SigningKeyReference, Transit, VaultKey, VaultWrap
from router.errors import AuditError, ConfigError
from router.ports import SigningKey
from router.registry import ADAPTERS
from router.secret import Secret


def open_signing_key(reference: SigningKeyReference, root: Path, *, create: bool) -> SigningKey:
    """A key that was found to sign what its public key verifies. `create` makes a file's key where there is none. Raises AuditError."""
    return proven(signing_key(reference, root, create=create))


def open_sealing_key(reference: SealingKeyReference, root: Path, *, create: bool) -> bytes:
    """32 bytes. Raises AuditError."""
    if reference.file is not None:
        path = root / reference.file
        return ensure_sealing_key(path) if create else read_sealing_key(path)
    if reference.env is not None:
        return sealing_key_from_environment(reference.env, os.environ)
    return _unwrapped(reference, root, create)


def _unwrapped(reference: SealingKeyReference, root: Path, create: bool) -> bytes:
    wrap: VaultWrap = reference.vault  # type: ignore[assignment]  # exactly one is set
    adapter, path = ADAPTERS.load("ledger key", "vault"), root / wrap.wrapped
    vault = adapter.Vault(wrap, *_reaching(wrap, root))
    text = ensure_wrapped_key(path, partial(adapter.new_wrapped_key, vault)) if create else read_wrapped_key(path)
    key: bytes = adapter.unwrapped(vault, text)
    return key


def _reaching(transit: Transit, root: Path) -> tuple[Callable[[], str], Path | None]:
    return partial(_revealed, transit.token, root), root / transit.ca if transit.ca else None


def verifier_of(reference: SigningKeyReference, root: Path, origin: str) -> str | None:
    """The public key as signed-note writes it; None where the key is not on this machine. A vault is asked. Raises AuditError."""
    if (reference.file is not None and not os.path.isfile(root / reference.file)) or (
        reference.env is not None and reference.env not in os.environ
    ):
        return None  # False also for a file that may not be looked at
    return NoteSigner(origin, signing_key(reference, root, create=False)).verifier


def signing_key(reference: SigningKeyReference, root: Path, *, create: bool) -> SigningKey:
    """Not tried yet."""
    (kind,) = reference.model_dump()
    adapter = ADAPTERS.load("ledger key", kind)
    key: SigningKey
    if reference.file is not None:
        key = adapter.from_file(root / reference.file, create=create)
    elif reference.env is not None:
        key = adapter.from_environment(reference.env, os.environ)
    else:
        vault: VaultKey = reference.vault  # type: ignore[assignment]  # exactly one is set
        key = adapter.VaultSigningKey(vault, *_reaching(vault, root))
    return key


def _revealed(secret: Secret, root: Path) -> str:
    try:
        return secret.reveal(root).strip()
    except ConfigError as error:
        raise AuditError(f"The vault's token cannot be read: {error}", "audit_key_unreadable") from error
