"""Where a command finds the ledger, its index and its keys: in a state directory, or where a configuration says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from adapters.sqlite_index import SqliteIndex
from adapters.sqlite_place import SqlitePlace
from adapters.sqlite_subject_keys import KeyFile
from router.audit.checkpoint import NoteSigner
from router.audit.chunk import OpenReader
from router.audit.keys import read_sealing_key, read_signing_key
from router.audit.query import Trail
from router.audit.reader import Stored
from router.wiring.ledger_place import LedgerPlace, ledger_place, place_at
from router.workspace import parse, read

INDEX_FILE = "index.sqlite"
STORE = "lockgate.store"

store_option = click.option(
    "--store",
    metavar="URL",
    envvar="LOCKGATE_STORE",
    expose_value=False,
    callback=lambda ctx, _, value: ctx.meta.__setitem__(STORE, value),
    help="The PostgreSQL database that has the ledger, instead of the configuration's; best in the environment, for others see arguments.",
)
"""Read by `sources`, so that no command has to hand it on."""


@dataclass(frozen=True, slots=True)
class Sources:
    """`place` has the ledger and the subjects' keys; the index and, usually, the key files are in `state`."""

    state: Path
    signing_key: Path
    sealing_key: Path
    place: LedgerPlace

    @property
    def open_reader(self) -> OpenReader:
        return partial(self.place.reader, Stored)

    def open_keys(self) -> KeyFile:
        """Raises AuditError when there is no keys' file, or the sealing key is missing or another one."""
        return self.place.kept_keys(partial(read_sealing_key, self.sealing_key))

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
            index = SqliteIndex(self.state / INDEX_FILE)
            stack.callback(index.close)
            keys = self.open_keys() if personal else None
            if keys is not None:
                stack.callback(keys.close)
            yield Trail(reader, index, None if keys is None else keys.key)


def sources(state: Path | None, config: Path) -> Sources:
    """A state directory that is named wins and needs no configuration: auditors work on copies. `--store` wins over both for where the
    ledger is."""
    context = click.get_current_context(silent=True)
    url: str | None = None if context is None else context.meta.get(STORE)
    if state is not None or not config.exists():
        folder = state if state is not None else Path("state")
        return Sources(
            folder, folder / "keys" / "ledger.key", folder / "keys" / "sealing.key", SqlitePlace(folder) if url is None else place_at(url)
        )
    workspace = parse(read(config, os.environ), os.environ)
    audit, folder = workspace.config.audit, workspace.path(workspace.config.state)
    place = ledger_place(workspace) if url is None else place_at(url)
    return Sources(folder, workspace.path(audit.key.file), workspace.path(audit.sealing_key.file), place)
