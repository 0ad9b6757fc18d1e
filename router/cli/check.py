"""`lockgate check`: everything that is wrong with a workspace, by file and line, or a summary of what is right."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from adapters.rego.embedded import compile_all
from router.audit.questions.saved import FILE, saved_queries
from router.bundle.versions import OVERRIDE
from router.catalog import Catalog
from router.cli.common import config_option, console, json_option, print_json
from router.cli.harmless import say
from router.errors import ConfigError
from router.faults import Document, Fault, Loc
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, find
from router.policy.hidden import hidden
from router.policy.misnamed import misnamed
from router.policy.unanswered import unanswered
from router.policy.unasked import unasked
from router.policy.unread import unread
from router.policy.unseen import unseen_faults
from router.snapshot import Snapshot
from router.wiring.control_policy import approval_policy, make_judge
from router.wiring.ledger_place import ledger_place
from router.wiring.nodes import shared_place
from router.wiring.policy import check_engines
from router.wiring.tls import files, read_certificates, tls_place
from router.workspace import Workspace, read
from router.workspace_secrets import parse_with_secrets
from router.yaml_source import read_yaml

FAULTY = 1
DATA_OF_BUNDLE = "data.json"


@click.command()
@config_option
@json_option
def check(config: Path, as_json: bool) -> int:
    """Check configuration, catalog, utterances and policies. The exit status is 1 when there is a fault.

    Warnings are about policies that load: requests that pass because nobody could look, which `lockgate policy check` calls a fault; rules
    that nothing asks, and data that no policy reads; header fields that policies read and are not shown; names in the data that the catalog
    has not.
    """
    try:
        workspace = checked(read(config, os.environ, override=False))
        deciding = read(config, os.environ)
        override = checked(deciding).override if OVERRIDE in deciding.files else None
    except ConfigError as error:
        _report(error.faults, as_json)
        return FAULTY
    warnings = doubtful(workspace, config)
    if as_json:
        over = None if override is None else override.archive
        told = {"ok": True, "faults": [], "warnings": [_parted(each) for each in warnings]}
        print_json({**told, **summary(workspace), "overridden_by": over})
    else:
        for each in warnings:
            say(f"warning: {each}")
        _show(workspace)
        if override is not None:
            console().print(
                f"Its policies are not those that decide: version {override.archive[:12]} is in force over them.", style="yellow"
            )
    return 0


def checked(snapshot: Snapshot) -> Workspace:
    """The workspace, once its policies load and the files that it names are there. Raises ConfigError with every fault."""
    snapshot, workspace = parse_with_secrets(snapshot)
    faults = [
        *_missing(workspace, snapshot),
        *_unusable_certificates(workspace, snapshot),
        *_unusable_store(workspace, snapshot),
        *_unusable_nodes(workspace, snapshot),
        *_witness_faults(workspace),
        *_unanswerable(workspace),
    ]
    for judging in (_check_thresholds, check_engines, make_judge, approval_policy):
        try:
            judging(workspace)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return workspace


def doubtful(workspace: Workspace, config: Path) -> list[str]:
    """Of the workspace's own folder. A bundle was held against itself where it was signed, but not against this catalog, nor against what
    is shown here."""
    try:
        if workspace.bundle is not None:
            folder = PolicyFolder(workspace.root, workspace.policies, {}, workspace.policy_data, _settings_file(workspace))
            modules, faults = compile_all(folder.policies, {})[0], list[Fault]()
        else:
            folder = find(None, config)
            policies = Policies(folder)
            modules = policies.modules
            faults = [*unseen_faults(folder, policies), *unasked(modules), *unread(folder, modules)]
        faults += unanswered(modules, folder.policies)
        faults += [*hidden(folder, modules, workspace.visible_headers), *misnamed(folder, names(workspace.catalog))]
        return [str(each) for each in faults]
    except ConfigError:  # there is no folder, or what is wrong with it was told as its faults
        return []


def _settings_file(workspace: Workspace) -> str:
    """Where the settings of a bundle's policies are: outside of it, where the configuration says so."""
    data = workspace.config.policy.data
    return DATA_OF_BUNDLE if not data else data if isinstance(data, str) else data[0]


def names(catalog: Catalog) -> dict[str, Collection[str]]:
    return {"intent": catalog.intents, "route": catalog.routes, "destination": catalog.destinations}


def _check_thresholds(workspace: Workspace) -> None:
    if workspace.tuned is None:
        return
    from router.wiring.tuning import check_encoder  # the encoder's libraries take a while to load

    check_encoder(workspace)


def summary(workspace: Workspace) -> dict[str, Any]:
    catalog = workspace.catalog
    return {
        "intents": len(catalog.intents),
        "examples": sum(len(intent.examples) for intent in catalog.intents.values()),
        "routes": len(catalog.routes),
        "destinations": len(catalog.destinations),
        "rules": len(catalog.rules),
        "policies": len(workspace.policies),
        "digests": asdict(workspace.digests),
    }


def _witness_faults(workspace: Workspace) -> tuple[str, ...]:
    witnesses = workspace.config.audit.witnesses
    if witnesses is None or not workspace.path(witnesses.policy).is_file():
        return ()
    from router.wiring.witnesses import usable_policy  # an HTTP client comes with it

    try:
        usable_policy(workspace.path(witnesses.policy), None)
    except ConfigError as error:
        return error.faults
    return ()


def _unanswerable(workspace: Workspace) -> tuple[str, ...]:
    """What is wrong with the saved questions."""
    try:
        saved_queries(workspace.path(FILE), FILE)
    except ConfigError as error:
        return error.faults
    return ()


def _missing(workspace: Workspace, snapshot: Snapshot) -> Iterator[str]:
    """Files outside the snapshot that serving would need."""
    document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], os.environ)
    for loc, path in _named_files(workspace):
        if not workspace.path(path).is_file():
            where = document or Document(snapshot.config, None)
            yield str(where.fault(loc, f"The file '{path}' does not exist."))


def _unusable_certificates(workspace: Workspace, snapshot: Snapshot) -> Iterator[str]:
    """Of files that are there."""
    for name, settings in workspace.config.listeners_tls.items():
        if all(workspace.path(file).is_file() for _, file in files(settings)):
            try:
                read_certificates(workspace.root, name, settings)
            except ConfigError as error:
                document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], os.environ)
                yield str((document or Document(snapshot.config, None)).fault(tls_place(name), f"{error}."))


def _unusable_store(workspace: Workspace, snapshot: Snapshot) -> Iterator[str]:
    """What can be said of the ledger's store without asking it."""
    try:
        ledger_place(workspace)
    except ConfigError as error:
        document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], os.environ)
        yield str((document or Document(snapshot.config, None)).fault(("audit", "store"), str(error)))


def _unusable_nodes(workspace: Workspace, snapshot: Snapshot) -> Iterator[str]:
    """The same of what nodes share."""
    try:
        shared_place(workspace)
    except ConfigError as error:
        document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], os.environ)
        yield str((document or Document(snapshot.config, None)).fault(("nodes",), str(error)))


def _named_files(workspace: Workspace) -> Iterator[tuple[Loc, str]]:
    config = workspace.config
    for place, issuer in enumerate(config.identity.jwt):
        if issuer.jwks.file is not None:
            yield ("identity", "jwt", place, "jwks", "file"), issuer.jwks.file
    for name, settings in config.listeners_tls.items():
        yield from (((*tls_place(name), *place), file) for place, file in files(settings))
    if config.audit.witnesses is not None:
        yield ("audit", "witnesses", "policy"), config.audit.witnesses.policy
        if config.audit.witnesses.ca is not None:
            yield ("audit", "witnesses", "ca"), config.audit.witnesses.ca
    for name in ("key", "previous_key"):
        reference = getattr(config.audit, name)
        if reference is not None and reference.vault is not None and reference.vault.ca is not None:
            yield ("audit", name, "vault", "ca"), reference.vault.ca


def _report(faults: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "faults": [_parted(fault) for fault in faults]})
        return
    for fault in faults:
        say(fault)
    console(error=True).print(f"[red]{len(faults)} fault{'s' if len(faults) != 1 else ''}[/]")


def _parted(fault: str) -> dict[str, Any]:
    place, _, sentence = fault.partition(": ")
    file, _, line = place.rpartition(":")
    return {"file": file, "line": int(line), "sentence": sentence} if line.isdigit() else {"file": "", "line": 0, "sentence": fault}


def _show(workspace: Workspace) -> None:
    facts, out = summary(workspace), console()
    out.print("[green]The workspace is in order.[/]")
    out.print(f"  {facts['intents']} intents with {facts['examples']} examples, {facts['rules']} rules")
    out.print(f"  {facts['routes']} routes to {facts['destinations']} destinations")
    out.print(f"  {facts['policies']} policies")
    for name, value in facts["digests"].items():
        out.print(f"  {name} digest {value}")
