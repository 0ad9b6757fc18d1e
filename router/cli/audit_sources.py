"""Where a command finds the ledger, its index and its keys: in a state directory, or where a configuration says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.sqlite_index import SqliteIndex
from adapters.sqlite_reader import SqliteReader
from adapters.sqlite_subject_keys import KeyFile
from router.audit.chunk import OpenReader
from router.audit.query import Trail
from router.audit.reader import Stored
from router.config.ledger_keys import SealingKeyReference, SigningKeyReference
from router.errors import AuditError
from router.wiring.ledger_keys import open_sealing_key, verifier_of
from router.workspace import parse, read

LEDGER_FILE, INDEX_FILE, KEYS_FILE = "ledger.sqlite", "index.sqlite", "keys.sqlite"


@dataclass(frozen=True, slots=True)
class Sources:
    """The keys' paths are relative to `root`."""

    state: Path
    signing_key: SigningKeyReference
    sealing_key: SealingKeyReference
    root: Path = Path()

    @property
    def open_reader(self) -> OpenReader:
        return partial(SqliteReader, self.state / LEDGER_FILE, Stored)

    def open_keys(self) -> KeyFile:
        """Raises AuditError when there is no keys' file, or the sealing key is missing or another one."""
        file = self.state / KEYS_FILE
        if not os.path.isfile(file):
            raise AuditError(f"There are no subject keys at {file}.", "audit_keys_missing")
        keys = KeyFile(file, open_sealing_key(self.sealing_key, self.root, create=False))
        keys.open()
        return keys

    def key_id(self, subject: str) -> str | None:
        keys = self.open_keys()
        try:
            return keys.find(subject)
        finally:
            keys.close()

    def verifier(self) -> str | None:
        """The public key that belongs to the signing key beside the ledger; None when it is not on this machine."""
        reader = self.open_reader()
        try:
            return verifier_of(self.signing_key, self.root, reader.origin())
        except AuditError as error:
            raise AuditError(f"{error} `--key` takes the public key instead.", error.code) from error
        finally:
            reader.close()

    @contextmanager
    def trail(self, personal: bool) -> Iterator[Trail]:
        with ExitStack() as stack:
            reader = self.open_reader()
            stack.callback(reader.close)
            index = SqliteIndex(self.state / INDEX_FILE)
            stack.callback(index.close)
            keys = self.open_keys() if personal else None
            if keys is not None:
                stack.callback(keys.close)
            yield Trail(reader, index, None if keys is None else keys.key)


def sources(state: Path | None, config: Path) -> Sources:
    """A state directory that is named wins and needs no configuration: auditors work on copies."""
    if state is not None:
        keys = state / "keys"
        return Sources(state, SigningKeyReference(file=str(keys / "ledger.key")), SealingKeyReference(file=str(keys / "sealing.key")))
    if not config.exists():
        return sources(Path("state"), config)
    workspace = parse(read(config, os.environ), os.environ)
    audit = workspace.config.audit
    return Sources(workspace.path(workspace.config.state), audit.key, audit.sealing_key, workspace.root)
