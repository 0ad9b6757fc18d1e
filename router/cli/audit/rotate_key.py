"""`lockgate audit rotate-key`: hands a stopped ledger over to the configured key."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import click

from router.audit.keys.rotation import is_in_force
from router.audit.questions.reader import Stored
from router.cli.common import config_option, console, json_option, print_json
from router.errors import AuditError
from router.processes.evidence import agreed
from router.system import SystemClock
from router.wiring.ledger_place import ledger_place
from router.wiring.ledger_rotation import checkpointing, ledger_signer, taken_over, taken_over_from_lost
from router.workspace import without_policies


@click.command("rotate-key")
@click.option("--reason", help="One word that stays in the ledger, such as the number of a change; `scheduled` or `lost` when left out.")
@click.option("--old-key-lost", is_flag=True, help="No key vouches for the new one: who only knows the old one will not believe it.")
@click.option("--old-key", help="With --old-key-lost: the lost key's public key (name+keyid+base64), if somebody has noted it.")
@config_option
@json_option
def rotate_key(reason: str | None, old_key_lost: bool, old_key: str | None, config: Path, as_json: bool) -> None:
    """Hand the ledger over from `audit.previous_key` to `audit.key` while Lockgate is stopped; its next start would do the same.

    In PostgreSQL other nodes may run; they sign no more until they have the new key. Witnesses are asked first, as at a start.
    """
    workspace = without_policies(config, os.environ)
    if old_key is not None and not old_key_lost:
        raise click.UsageError("--old-key is only for --old-key-lost.")
    if not old_key_lost and workspace.config.audit.previous_key is None:
        raise AuditError(
            "Set `audit.previous_key` to the key that signed until now and `audit.key` to the new one; --old-key-lost is for when there is "
            "no such key any more.",
            "audit_rotation_refused",
        )
    place, now = ledger_place(workspace), time.time_ns()
    place.reader(Stored).close()  # so that none is made where there is none
    new = ledger_signer(workspace)
    store = place.store(new.verifier)
    if not is_in_force(store, checkpointing(workspace, new)):
        asyncio.run(agreed(workspace, place, new, SystemClock()))
    if old_key_lost:
        handed = taken_over_from_lost(workspace, store, new, old_key, reason or "lost", now)
    else:
        handed = taken_over(workspace, store, new, reason or "scheduled", now)
    if as_json:
        print_json({"rotated": handed is not None, "record": handed.size - 1 if handed else None, "public_key": new.verifier})
        return
    out = console()
    if handed is None:
        out.print("This key is in force already; nothing was done.")
    else:
        out.print(
            f"[green]The ledger is handed over.[/] Record {handed.size - 1} says so, and the checkpoint of {handed.size} records is it."
        )
        out.print("Note the new public key where the old one is noted. `audit.previous_key` may be taken out, and that key destroyed.")
    out.print(f"  public key {new.verifier}", markup=False)
