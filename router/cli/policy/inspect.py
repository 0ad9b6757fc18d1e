"""`lockgate policy inspect`: what a bundle says of itself. Nothing of it is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from router.bundle.content import package_path, read_bundle
from router.bundle.documents import file_digest
from router.bundle.signature import described
from router.cli.common import json_option, print_json
from router.cli.harmless import say
from router.cli.policy.bundle_options import bundle_argument, files_of


@click.command()
@bundle_argument
@json_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show what a bundle says of itself; `verify-bundle` says whether it is true."""
    facts = _facts(files_of(bundle))
    if as_json:
        print_json(facts)
    else:
        _show(facts)


def _facts(files: dict[str, bytes]) -> dict[str, Any]:
    bundle = read_bundle(files)
    return {
        "revision": bundle.revision,
        "sequence": bundle.sequence,
        "digest": bundle.digest,
        "roots": list(bundle.roots),
        "packages": sorted({package_path(name, text).replace("/", ".") for name, text in bundle.policies.items()}),
        "signature": described(files),
        "tests": bundle.attestation.document() if bundle.attestation is not None else None,
        "files": [{"name": name, "bytes": len(files[name]), "sha256": file_digest(name, files[name])} for name in sorted(files)],
    }


def _show(facts: dict[str, Any]) -> None:
    for name in ("revision", "sequence", "digest"):
        say(f"{name:<10}{facts[name] if facts[name] is not None else 'none'}")
    say(f"{'roots':<10}{', '.join(root or '(all)' for root in facts['roots'])}")
    signature, tests = facts["signature"], facts["tests"]
    said = f"key '{signature['key_id']}', {signature['algorithm']}; not verified" if signature else "none"
    say(f"{'signature':<10}{said}")
    say(f"{'tests':<10}{_tested(tests) if tests else 'no attestation'}")
    for package in facts["packages"]:
        say(f"  {package}")
    for file in facts["files"]:
        say(f"  {file['sha256'][:12]}  {file['bytes']:>8}  {file['name']}")


def _tested(tests: dict[str, Any]) -> str:
    opa = f", which is OPA {tests['version']} ({tests['by']})," if "version" in tests else ""
    return f"{tests['passed']} passed in the engine '{tests['engine']}'{opa} at {tests['at']}"
