"""`lockgate model`: which encoder a workspace uses, and whether it is what it says it is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from router.cli.common import config_option, console, json_option, print_json
from router.errors import ConfigError
from router.workspace import Workspace, parse, read

SAMPLE = "where is the parcel that I sent on monday morning"
ROUNDS = 20


@click.command()
@config_option
@json_option
def model(config: Path, as_json: bool) -> None:
    """Show the encoder: its digest is checked while it is loaded, and it encodes a short text."""
    facts = describe(parse(read(config, os.environ), os.environ))
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        console().print(f"{name:>16}  {value}")


def describe(workspace: Workspace) -> dict[str, Any]:
    """Raises ConfigError where the encoder is not there."""
    from embeddings.errors import EmbeddingsError  # the encoder's libraries take a while to load
    from router.wiring.encoder import load_encoder

    encoder = load_encoder(workspace)
    try:
        encoder.encode_one(SAMPLE)
        started = time.perf_counter_ns()
        for _ in range(ROUNDS):
            encoder.encode_one(SAMPLE)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error
    each = (time.perf_counter_ns() - started) // ROUNDS
    return {
        "adapter": workspace.config.classifier.encoder.adapter,
        "digest": encoder.digest,
        "dimensions": encoder.dimensions,
        "max_tokens": encoder.max_tokens,
        "microseconds": each // 1000,
    }
