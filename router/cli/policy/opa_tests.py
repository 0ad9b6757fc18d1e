"""Where `lockgate policy build` finds an OPA to run the tests in as well."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from adapters.rego.testing import TestOutcome
from router.bundle.build import Sources
from router.bundle.tested import SKIPPED, Tested
from router.config.opa import OpaEngine
from router.errors import ConfigError
from router.secret import Secret

BINARY, LIBRARY = "opa", "opa_bindings"


def opa_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--opa-token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with the bearer token for it."
        ),
        click.option("--opa-binary", metavar="PROGRAM", help="Run the tests by this `opa`; the one on the path when left out."),
        click.option("--opa", "opa_url", metavar="URL", help="Run the tests on this OPA server, which must hold nothing; or unix://PATH."),
    ):
        command = option(command)
    return command


def run_in_opa(sources: Sources, ran: Sequence[TestOutcome], url: str | None, token_file: Path | None, binary: str | None) -> Tested | None:
    """On the server or by the program that is named; else by what is here: `opa` on the path, or the library. None where nothing is."""
    if url is not None and binary is not None:
        raise click.UsageError("--opa and --opa-binary exclude each other.")
    texts = {**sources.policies, **sources.tests}
    tests = [(each.name, each.outcome != SKIPPED) for each in ran]
    if url is not None:
        from adapters.opa.tests_on_server import run_on_server

        return asyncio.run(run_on_server(_server(url, token_file), Path(), texts, sources.data, tests))
    program = binary or shutil.which(BINARY)
    if program is not None:
        from adapters.opa.tests_by_binary import run_by_binary

        return run_by_binary(program, texts, sources.data)
    if find_spec(LIBRARY) is not None:
        from adapters.opa.tests_in_library import run_in_library

        return run_in_library(texts, sources.data, tests)
    return None


def _server(url: str, token_file: Path | None) -> OpaEngine:
    try:
        return OpaEngine(url=url, token=Secret(file=str(token_file.absolute())) if token_file is not None else None)
    except ValidationError as error:
        raise ConfigError(f"--opa {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
