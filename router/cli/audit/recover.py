from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from adapters.sqlite.place import SqlitePlace
from router.audit.keys.store import SubjectKeyStore
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import note_checkpoint
from router.cli.audit.sources import note_in
from router.cli.common import config_option
from router.wiring.carrying import said
from router.wiring.ledger_keys import open_sealing_key
from router.wiring.ledger_place import ledger_place
from router.wiring.ledger_rotation import ledger_signer
from router.wiring.recovery import BEHIND, DIFFERS, STOLEN, Around, Place, Predecessor, recover, recover_shared
from router.workspace import Workspace, without_policies

REASONS = ("restored", "key_lost", STOLEN, "damaged")


@click.command("recover")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The last checkpoint of the old ledger, from where it was kept. A newer one on this machine counts, unless the key was stolen.",
)
@click.option(
    "--copy",
    "copies",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with another copy of the old ledger's file, such as the damaged one: its erasures and legal holds count as well.",
)
@click.option("--reason", type=click.Choice(REASONS), default="restored", show_default=True, help="Why the old ledger is not continued.")
@config_option
def recover_command(checkpoint: Path | None, copies: tuple[Path, ...], reason: str, config: Path) -> None:
    """Begin a new ledger after one that must not be continued, such as a restored backup.

    First give it another name in the configuration ('audit.origin'). Its first record embeds the last known checkpoint of the old
    one, which is kept under `predecessors` in the state directory, to be read and verified. In PostgreSQL it is kept in a schema of
    its own; stop all nodes before, and give this command the URL of the tables' owner.

    Erasures and legal holds go over, and what was erased and is in the subjects' keys again is destroyed.
    """
    workspace = without_policies(config, os.environ)
    audit = workspace.config.audit
    published, signer, note = workspace.path(audit.checkpoint.directory), ledger_signer(workspace), note_in(checkpoint)
    around = Around([partial(SqlitePlace(each).reader, Stored) for each in copies], partial(_keys, workspace))
    before: Predecessor
    kept: object
    if audit.store.adapter == "sqlite":
        before, kept, carried = recover(Place(workspace.path(workspace.config.state), published), signer, reason, note, around)
    else:
        before, schema, carried = recover_shared(ledger_place(workspace), published, signer, reason, note, around)
        kept = f"the schema {schema}"
    click.echo(f"{signer.name} begins, after {before.origin} with {before.size} records, which is kept in {kept}.")
    click.echo(_said(before))
    if before.copied:
        click.echo(
            f"It is a backup's copy of {before.copied}: what was recorded later is not there, and it does not say how much that was."
        )
    for sentence in said(carried):
        click.echo(sentence)


def _keys(workspace: Workspace) -> SubjectKeyStore:
    """Open, to be written to. Raises AuditError, `audit_keys_missing` where there are none."""
    place = ledger_place(workspace)

    def sealing_key() -> bytes:
        return open_sealing_key(workspace.config.audit.sealing_key, workspace.root, create=False)

    place.kept_keys(sealing_key).close()
    keys = place.keys(sealing_key())
    keys.open()
    return keys


def _said(before: Predecessor) -> str:
    if not before.note:
        return "No checkpoint of it is known, so nothing says whether records are missing."
    size = note_checkpoint(before.note).size
    if before.relation == BEHIND:
        return f"A checkpoint was signed for {size} records: {size - before.size} are missing from it."
    if before.relation == DIFFERS:
        return f"Its first {size} records are not those that a checkpoint was signed for. Have it verified."
    return f"Its first {size} records are those that the last known checkpoint was signed for."
