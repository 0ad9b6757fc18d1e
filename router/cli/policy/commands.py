"""`lockgate policy`: what authors of policies do. A table of commands, imported only when called."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("router.cli.policy.check:check", "Say what is wrong with policies, by file and line."),
    "test": ("router.cli.policy.test:test", "Run the tests beside the rules, with coverage by line."),
    "new": ("router.cli.policy.new:new", "Write a new rule with its test, which passes both."),
    "eval": ("router.cli.policy.eval:evaluate", "Put one input to the policies, and show which rules decided."),
    "replay": ("router.cli.policy.replay:replay_command", "Say which recorded decisions would be decided otherwise."),
    "check-report": ("router.cli.policy.check_report:check_report", "Check the signed report of a replay."),
    "diff": ("router.cli.policy.diff:diff", "Compare two folders: changed rules, and whose requests flip."),
    "bench": ("router.cli.policy.bench:bench", "Measure how long the policies take."),
    "conformance": ("router.cli.policy.conformance:conformance", "Run OPA's conformance cases against an engine."),
    "rollout": ("router.cli.policy.rollout:rollout", "Bring policies in step by step, watched and taken back by itself."),
    "versions": ("router.cli.policy.versions:versions", "Show which policies were in force since when."),
    "rollback": ("router.cli.policy.versions:rollback", "Put a version in force that was in force before."),
    "push": ("router.cli.policy.push:push", "Put policies and data on an OPA server."),
    "library": ("router.cli.policy.library:library", "List packages of rules that ship with Lockgate."),
    "adopt": ("router.cli.policy.adopt:adopt", "Adopt a package of the library, or copy it to change it."),
    "build": ("router.cli.policy.build:build", "Make a bundle of a folder of policies, and sign it."),
    "inspect": ("router.cli.policy.inspect:inspect", "Show what a bundle says of itself."),
    "verify-bundle": ("router.cli.policy.verify_bundle:verify_bundle", "Check a bundle's signature, manifest, tests and policies."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def policy() -> None:
    """Write, test, compare, bundle and roll out policies."""
