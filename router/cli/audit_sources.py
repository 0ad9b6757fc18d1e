"""Where a command finds the ledger, its index and its keys: in a state directory, or where a configuration says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters.sqlite_index import SqliteIndex
from adapters.sqlite_reader import SqliteReader
from adapters.sqlite_subject_keys import KeyFile
from router.audit.checkpoint import NoteSigner
from router.audit.chunk import OpenReader
from router.audit.keys import read_sealing_key, read_signing_key
from router.audit.query import Trail
from router.audit.reader import Stored
from router.errors import AuditError
from router.workspace import parse, read

LEDGER_FILE, INDEX_FILE, KEYS_FILE = "ledger.sqlite", "index.sqlite", "keys.sqlite"


@dataclass(frozen=True, slots=True)
class Sources:
    state: Path
    signing_key: Path
    sealing_key: Path

    @property
    def open_reader(self) -> OpenReader:
        return partial(SqliteReader, self.state / LEDGER_FILE, Stored)

    def open_keys(self) -> KeyFile:
        """Raises AuditError when there is no keys' file, or the sealing key is missing or another one."""
        file = self.state / KEYS_FILE
        if not os.path.isfile(file):
            raise AuditError(f"There are no subject keys at {file}.", "audit_keys_missing")
        keys = KeyFile(file, read_sealing_key(self.sealing_key))
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
        if not os.path.isfile(self.signing_key):  # False also for what may not be looked at
            return None
        reader = self.open_reader()
        try:
            return NoteSigner(reader.origin(), read_signing_key(self.signing_key)).verifier
        finally:
            reader.close()

    @contextmanager
    def trail(self, personal: bool) -> Iterator[Trail]:
        with ExitStack() as stack:
            reader = self.open_reader()
            stack.callback(reader.close)
            index = SqliteIndex(self._place_for_index(stack))
            stack.callback(index.close)
            keys = self.open_keys() if personal else None
            if keys is not None:
                stack.callback(keys.close)
            yield Trail(reader, index, None if keys is None else keys.key)

    def _place_for_index(self, stack: ExitStack) -> Path:
        """Beside the ledger; of a copy that nobody can write to it is made anew for each question."""
        if os.access(self.state, os.W_OK):
            return self.state / INDEX_FILE
        return Path(stack.enter_context(TemporaryDirectory(prefix="lockgate-index-"))) / INDEX_FILE


def sources(state: Path | None, config: Path) -> Sources:
    """A state directory that is named wins and needs no configuration: auditors work on copies."""
    if state is not None:
        return Sources(state, state / "keys" / "ledger.key", state / "keys" / "sealing.key")
    if not config.exists():
        return sources(Path("state"), config)
    workspace = parse(read(config, os.environ), os.environ)
    audit = workspace.config.audit
    return Sources(workspace.path(workspace.config.state), workspace.path(audit.key.file), workspace.path(audit.sealing_key.file))
