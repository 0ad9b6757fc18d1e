"""`lockgate policy build`: a folder of policies as one bundle in OPA's format, signed once its tests have passed."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from adapters.rego import embedded
from adapters.rego.testing import FAILED, PASSED, TestOutcome, run_tests
from router.bundle.archive import pack, unpack
from router.bundle.build import Signing, Sources, assemble, collect
from router.bundle.content import MAX_SEQUENCE, Attestation, attested_digest, package_path, read_bundle
from router.bundle.documents import DATA
from router.bundle.signature import signing_key
from router.bundle.tested import EMBEDDED, OPA, Tested, differences
from router.cli.common import json_option, print_json
from router.cli.policy.bundle_options import algorithm_option, key_id_option, read_file, scope_option
from router.cli.policy.opa_tests import opa_options, run_in_opa
from router.durable import replace
from router.errors import BundleError, ConfigError
from router.library import adopt
from router.library_settings import faults_of
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, library_of
from router.policy.unseen import unseen_faults

NOT_BUILT = 1


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default="policies")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The archive to write.")
@click.option("--revision", default="", help="A name for people, such as a tag or commit; the digest's beginning when left out.")
@click.option(
    "--sequence", type=click.IntRange(1, MAX_SEQUENCE), help="Must grow from bundle to bundle; the seconds since 1970 when left out."
)
@click.option("--root", "roots", multiple=True, default=("lockgate",), show_default=True, help="What the bundle owns. May be repeated.")
@click.option("--sign", "key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM private key to sign with.")
@key_id_option
@algorithm_option
@scope_option
@opa_options
@click.option(
    "--library",
    "adopted",
    multiple=True,
    metavar="NAME",
    help="A package of the library to put in. May be repeated; what the workspace adopts when left out.",
)
@json_option
def build(
    folder: Path,
    out: Path,
    revision: str,
    sequence: int | None,
    roots: tuple[str, ...],
    key: Path | None,
    key_id: str,
    algorithm: str | None,
    scope: str,
    opa_url: str | None,
    opa_binary: str | None,
    opa_token_file: Path | None,
    adopted: tuple[str, ...],
    as_json: bool,
) -> int:
    """Build a bundle from a folder of policies. With --sign its tests are run first, in the embedded engine and in OPA, and it says that
    they passed. Nothing is signed by which a request passes because a signal was not found that could not be computed.

    OPA is the server or the program that is named, or else what is here: `opa` on the path, or its engine as a Python package. Where the
    two engines differ about a test, nothing is signed. Without any OPA the bundle says that its tests ran in the embedded engine only.
    """
    if key is None and (opa_url or opa_binary):
        raise click.UsageError("Tests are run for what is signed; --opa and --opa-binary need --sign.")
    sources = _adopting(collect(folder), adopted or library_of(folder, Path()))
    embedded.load(sources.policies, sources.data if "lockgate" in sources.data else {})
    if "lockgate" in sources.data and (faults := list(faults_of(sources.policies, sources.data, (), os.fspath(folder / DATA[1])))):
        raise ConfigError(*map(str, faults))
    signing = None if key is None else Signing(*signing_key(read_file(key), algorithm, str(key)), key_id, scope)
    tested = run_tests(sources.policies, sources.tests, sources.data).outcomes if signing is not None else ()
    failed = [each for each in tested if each.outcome == FAILED]
    if failed:
        _report(failed, as_json)
        return NOT_BUILT
    passed = sum(1 for each in tested if each.outcome == PASSED)
    in_opa = run_in_opa(sources, tested, opa_url, opa_token_file, opa_binary) if passed else None
    differing = _differing(tested, in_opa) if in_opa is not None else []
    if differing:
        _report(differing, as_json)
        return NOT_BUILT
    if signing is not None:
        _refuse_unseen(folder, sources)
    attestation = _attestation(sources, passed, in_opa) if passed else None
    files = assemble(sources, revision or sources.digest[:12], sequence or int(time.time()), roots, attestation, signing)
    packed = pack(files)
    bundle = read_bundle(unpack(packed, str(out)))
    _write(out, packed)
    if as_json:
        facts = {**bundle.described(), "signer": key_id if signing is not None else None, "tests": passed, "bytes": len(packed)}
        tested_by = attestation.document() if attestation is not None else None
        print_json({"out": str(out), **facts, "attestation": tested_by})
    else:
        click.echo(f"{out}: revision {bundle.revision}, sequence {bundle.sequence}, digest {bundle.digest}")
        click.echo(_said(signing, attestation))
    return 0


def _refuse_unseen(folder: Path, sources: Sources) -> None:
    """Raises ConfigError. No option signs it all the same: a rule that holds while signals are unknown says so where all see it."""
    data = sources.data if "lockgate" in sources.data else {}
    found = PolicyFolder(folder, sources.policies, sources.tests, data, os.fspath(folder / DATA[1]))
    if faults := unseen_faults(found, Policies(found)):
        raise ConfigError(*map(str, faults))


def _adopting(sources: Sources, names: Sequence[str]) -> Sources:
    """With packages of the library and their tests; what the folder has itself stands in for the library's."""
    files = adopt(sources.policies, names)
    own = {package_path(name, text) for name, text in sources.tests.items()}
    tests = {name: text for name, text in files.tests.items() if package_path(name, text) not in own}
    added = {name: text.encode() for name, text in {**files.policies, **tests}.items()}
    return dataclasses.replace(sources, texts={**sources.texts, **added})


def _said(signing: Signing | None, found: Attestation | None) -> str:
    if signing is None:
        return "It is not signed."
    attested = (
        f"its {found.passed} tests passed, which it says" if found is not None else "it has no tests, so nothing says that they passed"
    )
    said = f"Signed by '{signing.key_id}' with {signing.algorithm}; {attested}."
    if found is None:
        return said
    if found.engine == OPA:
        return f"{said} They ran in OPA {found.version} ({found.by}) and in the embedded engine."
    return f"{said} They ran in the embedded engine only: `attested: required` does not take it. See --opa and --opa-binary."


def _attestation(sources: Sources, passed: int, in_opa: Tested | None) -> Attestation:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    digest = attested_digest(sources.policies, sources.tests, sources.data)
    if in_opa is None:
        return Attestation(EMBEDDED, passed, digest, at)
    return Attestation(OPA, in_opa.passed, digest, at, in_opa.version, in_opa.by)


def _differing(ours: Sequence[TestOutcome], theirs: Tested) -> list[TestOutcome]:
    known = {each.name: each for each in ours}
    found = differences({each.name: each.outcome for each in ours}, theirs)
    return [
        TestOutcome(name, known[name].file if name in known else "OPA", known[name].line if name in known else 1, FAILED, why)
        for name, why in found
    ]


def _report(failed: list[TestOutcome], as_json: bool) -> None:
    if as_json:
        print_json(
            {"out": None, "failed": [{"file": each.file, "line": each.line, "test": each.name, "why": each.reason} for each in failed]}
        )
        return
    for each in failed:
        click.echo(f"{each.file}:{each.line}: {each.name}: {each.reason}")
    click.echo(f"Nothing was built: {len(failed)} of the tests failed, or differ between the engines.", err=True)


def _write(out: Path, packed: bytes) -> None:
    try:
        with replace(out) as file:
            file.write(packed)
    except OSError as error:
        raise BundleError(f"{out} cannot be written: {error.strerror}.") from error
