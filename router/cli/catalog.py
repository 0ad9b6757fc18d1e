"""`lockgate catalog lint`: what would make a catalog classify worse than it could, by file and line. `replay` has a file of its own."""

from __future__ import annotations

import csv
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from router.catalog_lint import Finding, HeldOutText, Linted, Severity, as_findings, intents_only, lint_words, opened, quoted
from router.cli.bars import progress_bars
from router.cli.catalog_replay import replay_command
from router.cli.common import config_option, console, json_option, print_json
from router.errors import ConfigError
from router.utterances import Utterance
from router.workspace import Workspace, parse, read

if TYPE_CHECKING:
    from embeddings.ports import Encoder

FAULTY = 1
STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
ORDER = list(STYLES)


@click.group()
def catalog() -> None:
    """Look after the catalog."""


catalog.add_command(replay_command)


@catalog.command()
@config_option
@json_option
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings too.")
@click.option(
    "--held-out", type=click.Path(path_type=Path), metavar="FILE.csv", help="Texts that no example may be: a CSV with a column text."
)
@click.option("--words-only", is_flag=True, help="Leave out what needs the encoder.")
def lint(config: Path, as_json: bool, strict: bool, held_out: Path | None, words_only: bool) -> int:
    """Find near-duplicate intents, examples in two places, leaked or personal examples, and parts that nothing uses.

    Nothing is trained. The exit status is 1 when there is an error.
    """
    snapshot = read(config, os.environ)
    linted = opened(snapshot, os.environ)
    findings = lint_words(linted, _held_out(held_out) if held_out is not None else ())
    try:
        workspace = parse(snapshot, os.environ)
    except ConfigError as error:
        findings += as_findings(error.faults, findings)
    else:
        if not words_only:
            findings += _by_meaning(linted, workspace)
    findings.sort(key=lambda each: (ORDER.index(each.severity), each.file, each.line, each.code))
    counts = Counter(each.severity for each in findings)
    failed = bool(counts[Severity.ERROR] or (strict and counts[Severity.WARNING]))
    if as_json:
        print_json({"ok": not failed, **{f"{each}s": counts[each] for each in ORDER}, "findings": [each.described() for each in findings]})
    else:
        _show(findings, counts)
    return FAULTY if failed else 0


def _by_meaning(found: Linted, workspace: Workspace) -> list[Finding]:
    """Raises ConfigError where the encoder is not there."""
    from embeddings.encoding import encode_all  # what needs the encoder takes a while to load
    from embeddings.errors import EmbeddingsError
    from router.catalog_likeness import lint_likeness
    from router.wiring.encoder import load_encoder

    encoder = load_encoder(workspace)
    examples = intents_only(found)
    descriptions = [intent.description for intent in found.parts.intents.values()]
    try:
        with progress_bars() as progress:
            vectors = encode_all(encoder, [each.text for _, each in examples], partial(progress, "encode"))
        return [*_cut_off(examples, encoder), *lint_likeness(found, vectors, encoder.encode(descriptions))]
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def _cut_off(examples: list[tuple[str, Utterance]], encoder: Encoder) -> list[Finding]:
    """Examples whose end the encoder does not see: without their last word they are the same to it."""
    long = [(owner, each) for owner, each in examples if len(each.text) > encoder.max_tokens]  # a token is a character at least
    shorter = encoder.encode([each.text.rsplit(maxsplit=1)[0] for _, each in long])
    same = (encoder.encode([each.text for _, each in long]) == shorter).all(axis=1)
    remedy = "Shorten it: what comes later is neither learnt nor seen in requests."
    return [
        Finding(
            Severity.WARNING,
            "cut_example",
            each.file,
            each.line,
            f"{quoted(each.text)}, an example of {owner}, is longer than the {encoder.max_tokens} tokens that the encoder reads.",
            remedy,
        )
        for (owner, each), cut in zip(long, same.tolist(), strict=True)
        if cut and len(each.text.split()) > 1
    ]


def _held_out(path: Path) -> list[HeldOutText]:
    """Raises ConfigError where there is no column `text`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "text" not in (rows.fieldnames or ()):
                raise ConfigError(f"{path}:1: The column 'text' is missing.")
            return [HeldOutText(row["text"], str(path), rows.line_num) for row in rows if row["text"]]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no CSV file in UTF-8: {error}.") from error


def _show(findings: list[Finding], counts: Counter[Severity]) -> None:
    """A line for where and what, one for what to do; examples are plain text, never markup."""
    out = console()
    for finding in findings:
        where = f"{finding.file}:{finding.line}: " if finding.file else ""
        severity = (f"{finding.severity:<8}", STYLES[finding.severity])
        out.print(Text.assemble(severity, where, finding.sentence, (f" [{finding.code}]", "dim")))
        out.print(Text(f"         {finding.remedy}", "dim"))
    if findings:
        told = (f"{counts[each]} {each}{'s' if counts[each] != 1 else ''}" for each in ORDER if counts[each])
        out.print(", ".join(told))
    else:
        out.print("[green]Nothing to find fault with.[/]")
