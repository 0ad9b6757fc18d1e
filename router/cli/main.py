"""The `lockgate` command: a table of commands, imported only when called, and one place where errors become sentences."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import click

from router.cli.harmless import harmless_text
from router.cli.lazy import LazyGroup
from router.errors import ConfigError, LockgateError

COMMANDS = {
    "init": ("router.cli.init:init", "Write a starter workspace that runs as it is."),
    "check": ("router.cli.check:check", "Say everything that is wrong with a workspace."),
    "config": ("router.cli.config.commands:config", "Say what a change of the configuration would change."),
    "serve": ("router.cli.serve:serve", "Serve the workspace: gateway, decide API and control API."),
    "explain": ("router.cli.explain:explain", "Show every stage's values for one text, without dispatching it."),
    "envoy": ("router.cli.envoy:envoy", "Write Envoy's configuration from the workspace."),
    "audit": ("router.cli.audit.commands:audit", "Query, show and verify the audit trail."),
    "backup": ("router.cli.backup:backup", "Copy a node's files while it serves."),
    "witness": ("router.cli.witness:witness", "Cosign checkpoints of other parties' ledgers."),
    "review": ("router.cli.review:review", "List held requests, and decide about them."),
    "feedback": ("router.cli.feedback:feedback", "Say whether decisions were right, and see what others said."),
    "labels": ("router.cli.labels:labels", "Say what sampled decisions are about."),
    "drift": ("router.cli.drift:drift", "Show how requests and their understanding changed."),
    "proposals": ("router.cli.proposals:proposals", "Draft, evaluate and roll out what was learnt."),
    "deliveries": ("router.cli.deliveries:deliveries", "List, retry and drop what is still to be delivered."),
    "endpoints": ("router.cli.endpoints:endpoints", "List webhook endpoints that are gone, and have them tried again."),
    "nodes": ("router.cli.nodes:nodes", "Show the nodes of one ledger; take one out of service, and back."),
    "objectives": ("router.cli.objectives:objectives", "Show whether the objectives are met, and what budget is left."),
    "console": ("router.cli.console:console", "Sign in to the console of this machine's Lockgate."),
    "keys": ("router.cli.keys:keys", "Create, list and revoke API keys."),
    "policy": ("router.cli.policy.commands:policy", "Write, test, compare and bundle policies."),
    "schema": ("router.cli.schema:schema", "Print the JSON Schema of the configuration or the catalog."),
    "model": ("router.cli.model:model", "Show and check the encoder."),
    "catalog": ("router.cli.catalog:catalog", "Find what would make a catalog classify worse than it could."),
    "train": ("router.cli.train:train", "Train and calibrate the classifier from the catalog."),
    "tune": ("router.cli.tune:tune", "Find thresholds for stated risks; measure a language model."),
    "eval": ("router.cli.eval:evaluate", "Measure the classifier on labelled texts."),
}
FAILED, INTERRUPTED, UNEXPECTED = 2, 130, 70


def installed_version() -> str:
    try:
        return version("lockgate")
    except PackageNotFoundError:
        return "(not installed)"


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(installed_version(), prog_name="lockgate")
def lockgate() -> None:
    """Lockgate classifies, judges, routes and records every request."""


def run(arguments: Sequence[str]) -> int:
    """The exit status: 0 done, 1 a command's own negative answer, 2 a mistake or a failure that has a sentence, 130 interrupted."""
    try:
        result = lockgate.main(args=list(arguments), prog_name="lockgate", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)  # of what another side said, or a file has, too
        click.echo(harmless_text(shown.getvalue()), nl=False, err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # a traceback at a user is a bug; LOCKGATE_DEBUG=1 shows it to who wants it
        if os.environ.get("LOCKGATE_DEBUG") == "1":
            raise
        return _failed(error)


def _failed(error: Exception) -> int:
    if isinstance(error, ConfigError):
        _say("\n".join(error.faults))
        return FAILED
    if isinstance(error, LockgateError):
        _say(f"lockgate: {error}")
        return FAILED
    _say(f"lockgate: something unexpected happened ({type(error).__name__}: {error}); LOCKGATE_DEBUG=1 shows where.")
    return UNEXPECTED


def _say(text: str) -> None:
    click.echo(harmless_text(text), err=True)


def main() -> None:
    sys.exit(run(sys.argv[1:]))
