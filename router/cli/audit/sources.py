"""Where a command finds the ledger, its index and its keys: in a state directory, or where a configuration says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from adapters.sqlite.index_checked import difference
from adapters.sqlite.place import SqlitePlace
from router.audit.checking.chunk import OpenReader
from router.audit.governance.standing import but_destroyed, standing_now
from router.audit.keys.store import SubjectKeyStore
from router.audit.questions.query import Trail
from router.audit.questions.reader import Difference, KeyLookup, LedgerReader, Stored
from router.audit.tree.checkpoint import every_note, every_readable_note, is_of, put_aside
from router.config.ledger_keys import SealingKeyReference, SigningKeyReference
from router.errors import AuditError
from router.wiring.ledger_keys import open_sealing_key, verifier_of
from router.wiring.ledger_place import LedgerPlace, ledger_place, place_at
from router.workspace import without_policies

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
    """`place` has the ledger and the subjects' keys; the index and, usually, the key files are in `state`. The keys' paths are relative to
    `root`."""

    state: Path
    signing_key: SigningKeyReference
    sealing_key: SealingKeyReference
    checkpoints: Path
    place: LedgerPlace
    root: Path = Path()

    @property
    def open_reader(self) -> OpenReader:
        return partial(self.place.reader, Stored)

    def open_keys(self) -> SubjectKeyStore:
        """Raises AuditError when there are no subjects' keys, or the sealing key is missing or another one."""
        return self.place.kept_keys(partial(open_sealing_key, self.sealing_key, self.root, create=False))

    def key_id(self, subject: str) -> str | None:
        with closing(self.open_keys()) as keys:
            return keys.find(subject)

    def verifier(self) -> str | None:
        """The public key that belongs to the signing key beside the ledger; None when it is not on this machine."""
        reader = self.open_reader()
        try:
            return verifier_of(self.signing_key, self.root, reader.origin())
        except AuditError as error:
            raise AuditError(f"{error} `--key` takes the public key instead.", error.code) from error
        finally:
            reader.close()

    def kept_checkpoints(self) -> Iterator[str | AuditError]:
        """All in the directory of checkpoints, and of this ledger those that were put aside there; why one of the first cannot be read
        stands in its place. Raises AuditError where the directory cannot be."""
        try:
            yield from every_readable_note(self.checkpoints)
            with closing(self.open_reader()) as reader:
                origin = reader.origin()
            for folder in put_aside(self.checkpoints):
                yield from (note for note in every_note(folder) if is_of(note, origin))
        except OSError as error:
            message = f"The checkpoints in {self.checkpoints} cannot be read: {error.strerror}."
            raise AuditError(message, "checkpoint_invalid") from error

    def answers_differ(self, reader: LedgerReader, told: Callable[[int, int], None] | None = None) -> Difference | None:
        """The first difference of the index from the ledger's records. Raises AuditError, also where this account cannot write there: its
        own questions make another one each time, and a copy's need not be whole, but a node may answer from this one."""
        index = self.state / INDEX_FILE
        if index.is_file() and not os.access(self.state, os.W_OK):
            message = (
                f"this account cannot write to {self.state}, and its own answers come from another. Verify as the account that serves."
            )
            raise AuditError(message, "audit_io_failed")
        return difference(index, reader, told)

    @contextmanager
    def opened(self) -> Iterator[tuple[LedgerReader, SqliteIndex]]:
        with ExitStack() as stack:
            reader = stack.enter_context(closing(self.open_reader()))
            yield reader, stack.enter_context(closing(SqliteIndex(stack.enter_context(self.folder()) / INDEX_FILE)))

    @contextmanager
    def keys(self, wanted: bool, reader: LedgerReader, index: SqliteIndex) -> Iterator[KeyLookup | None]:
        """None unless they are wanted. No key that this ledger says was destroyed is given out, though an old copy of the keys may have it
        until the next start."""
        if not wanted:
            yield None
            return
        with closing(self.open_keys()) as file:
            yield but_destroyed(file.key, standing_now(reader, index))

    @contextmanager
    def trail(self, personal: bool) -> Iterator[Trail]:
        with self.opened() as (reader, index), self.keys(personal, reader, index) as keys:
            yield Trail(reader, index, keys)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """For what is made of the ledger: beside it; of a copy that nobody can write to it is made anew for each question."""
        if os.access(self.state, os.W_OK):
            yield self.state
            return
        with TemporaryDirectory(prefix="lockgate-index-") as folder:
            yield Path(folder)


def sources(state: Path | None, config: Path) -> Sources:
    """A state directory that is named wins and needs no configuration: auditors work on copies. `--store` wins over both for where the
    ledger is."""
    context = click.get_current_context(silent=True)
    url: str | None = None if context is None else context.meta.get(STORE)
    if state is not None or not config.exists():
        folder = state if state is not None else Path("state")
        keys = folder / "keys"
        signing, sealing = SigningKeyReference(file=str(keys / "ledger.key")), SealingKeyReference(file=str(keys / "sealing.key"))
        return Sources(folder, signing, sealing, folder / "checkpoints", SqlitePlace(folder) if url is None else place_at(url))
    workspace = without_policies(config, os.environ)
    audit, folder = workspace.config.audit, workspace.path(workspace.config.state)
    place = ledger_place(workspace) if url is None else place_at(url)
    checkpoints = workspace.path(audit.checkpoint.directory)
    return Sources(folder, audit.key, audit.sealing_key, checkpoints, place, workspace.root)


def note_in(file: Path | None) -> str | None:
    """A checkpoint that was kept in a file. Raises AuditError."""
    try:
        return None if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{file} cannot be read as a checkpoint.", "checkpoint_invalid") from error
