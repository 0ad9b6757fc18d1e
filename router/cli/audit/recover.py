from __future__ import annotations

import os
from pathlib import Path

import click

from router.audit.tree.checkpoint import note_checkpoint
from router.cli.audit.sources import note_in
from router.cli.common import config_option
from router.errors import AuditError
from router.wiring.ledger_rotation import ledger_signer
from router.wiring.recovery import BEHIND, DIFFERS, Place, Predecessor, recover
from router.workspace import parse, read

REASONS = ("restored", "key_lost", "key_stolen", "damaged")


@click.command("recover")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The last checkpoint that is known of the old ledger, from where it was kept; the newest on this machine when left out.",
)
@click.option("--reason", type=click.Choice(REASONS), default="restored", show_default=True, help="Why the old ledger is not continued.")
@config_option
def recover_command(checkpoint: Path | None, reason: str, config: Path) -> None:
    """Begin a new ledger after one that must not be continued, such as a restored backup.

    First give it another name in the configuration ('audit.origin'). Its first record embeds the last known checkpoint of the old
    one, which is kept under `predecessors` in the state directory, to be read and verified.
    """
    workspace = parse(read(config, os.environ), os.environ)
    audit = workspace.config.audit
    if audit.store.adapter != "sqlite":
        message = (
            f"This is for a ledger in a file. With 'audit.store' {audit.store.adapter}, begin a new one in an empty schema, under another"
            " 'audit.origin'."
        )
        raise AuditError(message, "audit_store_unsuited")
    place = Place(workspace.path(workspace.config.state), workspace.path(audit.checkpoint.directory))
    signer = ledger_signer(workspace)
    before, kept = recover(place, signer, reason, note_in(checkpoint))
    click.echo(f"{signer.name} begins, after {before.origin} with {before.size} records, which is kept in {kept}.")
    click.echo(_said(before))


def _said(before: Predecessor) -> str:
    if not before.note:
        return "No checkpoint of it is known, so nothing says whether records are missing."
    size = note_checkpoint(before.note).size
    if before.relation == BEHIND:
        return f"A checkpoint was signed for {size} records: {size - before.size} are missing from it."
    if before.relation == DIFFERS:
        return f"Its first {size} records are not those that a checkpoint was signed for. Have it verified."
    return f"Its first {size} records are those that the last known checkpoint was signed for."
