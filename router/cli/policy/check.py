"""`lockgate policy check`: what is wrong with a folder of policies, by file and line."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.common import config_option, console, json_option, print_json
from router.cli.harmless import say
from router.cli.policy.options import counted, data_option, faults_json, folder_argument
from router.policy.checking import Checked, check_folder
from router.policy.evaluating import Policies
from router.policy.folder import find
from router.policy.inputs import generated, recorded
from router.policy.robust import check_robust
from router.policy.unseen import unseen_faults

FAULTY = 1


@click.command()
@folder_argument
@config_option
@data_option
@json_option
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings too.")
@click.option("--robust", is_flag=True, help="Also find what stays allowed when parts of the input are missing or undetermined.")
@click.option(
    "--inputs", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="For --robust: inputs, one a line; else made from the fixtures."
)
@click.option("--rules-only", is_flag=True, help="The folder is a library: it need not have the entry points.")
def check(
    folder: Path | None, config: Path, data: Path | None, as_json: bool, strict: bool, robust: bool, inputs: Path | None, rules_only: bool
) -> int:
    """Check the policies in FOLDER, or else the workspace's.

    They must compile, use nothing but what the embedded engine answers as OPA does, read nothing of the input that is never there, and let
    nothing pass because a signal was not found that could not be computed.
    The exit status is 1 when there is a fault.
    """
    found = find(folder, config, data)
    checked = check_folder(found, complete=not rules_only)
    if not checked.faults and not rules_only:
        policies, documents = Policies(found), recorded(inputs) if inputs is not None else None
        faults = set(unseen_faults(found, policies, documents))
        if robust:
            faults |= set(check_robust(found, policies, documents if documents is not None else generated(found)).faults)
        checked = Checked(tuple(sorted(faults)), checked.warnings)
    failed = bool(checked.faults or (strict and checked.warnings))
    if as_json:
        print_json({"ok": not failed, "faults": faults_json(checked.faults), "warnings": faults_json(checked.warnings)})
    else:
        _show(checked, len(found.policies))
    return FAULTY if failed else 0


def _show(checked: Checked, policies: int) -> None:
    for fault in checked.faults:
        say(str(fault))
    for warning in checked.warnings:
        say(f"{warning.file}:{warning.line}: warning: {warning.sentence}")
    out = console(error=bool(checked.faults))
    if checked.faults:
        out.print(f"[red]{counted(len(checked.faults), 'fault')}[/], {counted(len(checked.warnings), 'warning')}")
    else:
        out.print(f"[green]{counted(policies, 'file')} of policies in order[/], {counted(len(checked.warnings), 'warning')}")
