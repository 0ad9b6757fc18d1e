"""`lockgate policy verify-bundle`: whether a running Lockgate would take a bundle, but for the sequence of what it runs."""

from __future__ import annotations

from pathlib import Path

import click

from adapters.rego import embedded
from router.bundle.content import ATTESTED, Bundle, Trust, open_bundle
from router.bundle.signature import verification_key
from router.bundle.tested import OPA
from router.cli.common import json_option, print_json
from router.cli.harmless import say
from router.cli.policy.bundle_options import algorithm_option, bundle_argument, files_of, key_id_option, read_file, scope_option
from router.errors import BundleError, ConfigError

REFUSED = 1


@click.command()
@bundle_argument
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM public key; a signature is asked for when given."
)
@key_id_option
@algorithm_option
@scope_option
@click.option("--attested", is_flag=True, help="Its tests must have passed in OPA, and the signature must say so. Needs --key.")
@click.option("--embedded-tests", is_flag=True, help="With --attested: tests that ran in the embedded engine only are enough.")
@json_option
def verify_bundle(
    bundle: Path, key: Path | None, key_id: str, algorithm: str | None, scope: str, attested: bool, embedded_tests: bool, as_json: bool
) -> int:
    """Check a bundle: signature, manifest, attestation of tests, and that its policies load. The exit status is 1 when it is refused."""
    if attested and key is None:
        raise click.UsageError("--attested needs --key, for an attestation that nobody signed says nothing.")
    if embedded_tests and not attested:
        raise click.UsageError("--embedded-tests needs --attested.")
    accepted = ATTESTED["optional" if not attested else "embedded" if embedded_tests else "required"]
    keys = {} if key is None else {key_id: verification_key(read_file(key), algorithm, scope, str(key))}
    try:
        found = open_bundle(files_of(bundle), Trust(keys, accepted))
        embedded.load(found.policies, found.data)
    except ConfigError as error:
        _refused(error, as_json)
        return REFUSED
    _taken(found, as_json)
    return 0


def _refused(error: ConfigError, as_json: bool) -> None:
    code = error.code if isinstance(error, BundleError) else "bundle_policy_refused"
    if as_json:
        print_json({"ok": False, "code": code, "faults": list(error.faults)})
        return
    for fault in error.faults:
        say(f"{code}: {fault}")


def _taken(found: Bundle, as_json: bool) -> None:
    said = found.attestation
    passed = said.passed if said is not None else 0
    if as_json:
        print_json({"ok": True, **found.described(), "tests": passed, "attestation": said.document() if said is not None else None})
        return
    signed = f"signed by '{found.signer}'" if found.signer else "whoever made it (no key was given)"
    engine = "" if said is None else f" in OPA {said.version}" if said.engine == OPA else f" in the engine '{said.engine}'"
    attested = f"{passed} tests passed{engine}" if passed else "nothing is said about tests"
    say(f"In order: revision {found.revision}, sequence {found.sequence}, {signed}, {attested}.")
    say(f"digest {found.digest}")
