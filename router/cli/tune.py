"""`lockgate tune`: thresholds for stated risks and a language model's worth, each written to the file that the configuration names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.bars import progress_bars
from router.cli.common import config_option, console, json_option, print_json
from router.cli.eval import names
from router.errors import ConfigError
from router.stages.llm_calibration import Kind
from router.stages.tuned import Entry, Tuned
from router.system import SystemClock
from router.workspace import Workspace, parse, read

if TYPE_CHECKING:  # numpy and what comes with it take a while to load
    from embeddings.labelled import Labelled
    from embeddings.model import IntentModel
    from embeddings.ports import Progress
    from router.ports import Tier
    from router.wiring.llm_measuring import Measurement

STALE = 1


@dataclass(frozen=True, slots=True)
class Asked:
    data: Path | None
    calibrate: tuple[str, ...]
    llm: tuple[str, ...]
    most: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Found:
    thresholds: Tuned | None
    llm: Measurement | None


@click.command()
@config_option
@click.option("--data", type=click.Path(path_type=Path), help="CSV file with the columns split, text, intent (oos: none).")
@click.option("--calibrate", callback=names, metavar="SPLIT,…", help="Splits to find thresholds with, else cross-validation.")
@click.option("--llm", callback=names, metavar="SPLIT,…", help="Ask the language model about texts of these splits, and measure it.")
@click.option("--most", type=click.IntRange(min=1), default=500, show_default=True, help="Most texts to ask it about.")
@click.option("--tokens", type=click.IntRange(min=1), default=500_000, show_default=True, help="Tokens after which no more is asked.")
@click.option("--check", is_flag=True, help="Change nothing; the exit status is 1 when a file that is there is stale.")
@json_option
def tune(
    config: Path, data: Path | None, calibrate: tuple[str, ...], llm: tuple[str, ...], most: int, tokens: int, check: bool, as_json: bool
) -> int:
    """Find the thresholds for the stated risks (`max_error`) and costs, and say what they rest on.

    With --data each route has its own, from texts that nothing was learnt from; else all share the cross-validation of the training. The
    result is written to `classifier.thresholds` and, with --llm, to `classifier.llm.calibration`.
    """
    asked = Asked(data, calibrate, llm, most, tokens)
    if (calibrate or llm) and data is None:
        raise ConfigError("--calibrate and --llm name splits of a file: say which with --data.")
    if data is not None and not (calibrate or llm):
        raise ConfigError("--data needs --calibrate, --llm or both: the splits whose texts are to be used.")
    if check:
        return _check(config, asked)
    workspace = parse(read(config, os.environ), os.environ, measured=False)
    found = _find(workspace, asked)
    written = _write(workspace, found)
    if as_json:
        print_json(_report(found, written))
    else:
        _show(found, written)
    return 0


def _find(workspace: Workspace, asked: Asked) -> Found:
    from embeddings.errors import EmbeddingsError
    from router.wiring.encoder import ensure_model, load_model, make_tiers

    if asked.llm:
        _check_llm(workspace)
    try:
        calibrate, ask = _texts(workspace, asked, asked.calibrate), _texts(workspace, asked, asked.llm)
        with progress_bars() as progress, ExitStack() as opened:
            path = ensure_model(workspace, progress)
            if path is None:
                raise ConfigError("The catalog has no intent with examples, so there is nothing to tune.")
            model = opened.enter_context(closing(load_model(workspace, path)))
            tiers = make_tiers(workspace, model, path)
            for tier in tiers:
                opened.callback(tier.close)
            thresholds = _thresholds(workspace, asked, model, tiers, calibrate, progress) if _wants_thresholds(workspace, asked) else None
            return Found(thresholds, _llm(workspace, asked, model, tiers, ask, thresholds, progress) if ask is not None else None)
    except EmbeddingsError as error:
        raise ConfigError(str(error)) from error


def _wants_thresholds(workspace: Workspace, asked: Asked) -> bool:
    """Whoever asks for nothing else is told that there is none to find."""
    from router.wiring.tuning import groups

    return bool(groups(workspace, by_route=False)) or not asked.llm


def _thresholds(
    workspace: Workspace, asked: Asked, model: IntentModel, tiers: Sequence[Tier], calibrate: Labelled | None, progress: Progress
) -> Tuned:
    from router.wiring.tuning import CROSSED, answered, tuned

    if calibrate is None:
        return tuned(workspace, model, None, CROSSED)
    texts = asyncio.run(answered(workspace, tiers, calibrate, progress))
    return tuned(workspace, model, texts, _described(asked))


def _llm(
    workspace: Workspace,
    asked: Asked,
    model: IntentModel,
    tiers: Sequence[Tier],
    ask: Labelled,
    thresholds: Tuned | None,
    progress: Progress,
) -> Measurement:
    from router.wiring.llm_measuring import measured
    from router.wiring.stages import make_cascade

    judging = replace(workspace, tuned=thresholds if workspace.config.classifier.thresholds is not None else None)
    clock = SystemClock()
    cascade = make_cascade(judging, tiers, model, clock)
    return asyncio.run(measured(judging, cascade, ask, most=asked.most, tokens=asked.tokens, clock=clock, progress=progress))


def _check_llm(workspace: Workspace) -> None:
    """Before anything is spent."""
    llm = workspace.config.classifier.llm
    if llm is None:
        raise ConfigError("There is no 'classifier.llm' to be measured.")
    if llm.calibration is None:
        raise ConfigError("Name the file that the measurement is to be written to: 'classifier.llm.calibration'.")


def _texts(workspace: Workspace, asked: Asked, splits: tuple[str, ...]) -> Labelled | None:
    from embeddings.labelled import read_splits, select
    from router.wiring.tuning import held_out

    if asked.data is None or not splits:
        return None
    found = held_out(workspace, select(read_splits(asked.data), splits))
    if not len(found):
        raise ConfigError(f"The splits {', '.join(splits)} have no text that the catalog does not learn from.")
    return found


def _described(asked: Asked) -> str:
    """Which file and which part of it, so that a file that has changed since can be told."""
    if asked.data is None:
        raise ConfigError("There is no data.")
    try:
        digest = sha256(asked.data.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{asked.data} cannot be read: {error.strerror}.") from error
    return f"sha256:{digest} {','.join(asked.calibrate)}"


def _write(workspace: Workspace, found: Found) -> list[str]:
    classifier, written = workspace.config.classifier, []
    if found.thresholds is not None and classifier.thresholds is not None:
        written.append(_save(workspace, classifier.thresholds, found.thresholds.to_yaml()))
    if found.llm is not None and classifier.llm is not None and classifier.llm.calibration is not None:
        written.append(_save(workspace, classifier.llm.calibration, found.llm.calibration.to_json()))
    return written


def _save(workspace: Workspace, relative: str, data: bytes) -> str:
    """All or nothing: a process that serves may be watching the file."""
    path = workspace.path(relative)
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{relative} cannot be written: {error.strerror}.") from error
    return relative


def _check(config: Path, asked: Asked) -> int:
    from router.wiring.llm import fits
    from router.wiring.tuning import check_encoder

    try:
        workspace = parse(read(config, os.environ), os.environ)
        tuned, calibration = workspace.tuned, workspace.llm_calibration
        if tuned is None and calibration is None:
            raise ConfigError("The configuration names neither 'classifier.thresholds' nor 'classifier.llm.calibration'.")
        check_encoder(workspace)
        if tuned is not None and asked.calibrate and tuned.data != _described(asked):
            raise ConfigError("The thresholds were found with other texts; run `lockgate tune` and review what it changes.")
        if calibration is not None and not fits(workspace, calibration):
            raise ConfigError("The language model was measured with another catalog, prompt or threshold; run `lockgate tune --llm`.")
    except ConfigError as error:
        click.echo("\n".join(error.faults), err=True)
        return STALE
    click.echo("What was measured fits the catalog, the training and the configuration.")
    return 0


def _report(found: Found, written: list[str]) -> dict[str, Any]:
    report: dict[str, Any] = {"written": written, "thresholds": None, "llm": None}
    if found.thresholds is not None:
        report["thresholds"] = {"data": found.thresholds.data, "entries": [asdict(entry) for entry in found.thresholds.entries]}
    if found.llm is not None:
        report["llm"] = asdict(found.llm)
    return report


def _show(found: Found, written: list[str]) -> None:
    out = console()
    if found.thresholds is not None:
        click.echo(f"held out: {found.thresholds.data}")
        for entry in found.thresholds.entries:
            _show_entry(entry)
        if found.thresholds.entries[0].route is None:
            click.echo("All routes were judged together; --data with --calibrate finds what holds for each by itself.")
    if found.llm is not None:
        _show_llm(found.llm)
    for file in written:
        out.print(f"[green]{file} is written; review and commit it.[/]")
    if not written:
        click.echo("Nothing is written: the configuration names no file ('classifier.thresholds', 'classifier.llm.calibration').")


def _show_entry(entry: Entry) -> None:
    few = ", ".join(entry.intents[:3]) + (f" and {len(entry.intents) - 3} more" if len(entry.intents) > 3 else "")
    where = "all routes" if entry.route is None else f"route {entry.route}"
    click.echo(f"\n{where} ({few}): {_aim(entry)}")
    if entry.confidence is None or entry.error_at_most is None:
        if entry.costs is not None:
            click.echo("  that accepting costs less than abstaining")
        click.echo(
            f"  cannot be proved with {entry.held_out} held-out texts; at least {_count(entry.more_needed)} more, none of them wrong,"
        )
        click.echo("  would be needed. Until then these intents abstain.")
        return
    if entry.costs is not None:
        click.echo(f"  costs {entry.costs.expected:.4g} a text, at most {entry.costs.at_most:.4g} (95 % certainty);")
        click.echo(f"  to abstain always costs {entry.costs.abstain:g}")
    click.echo(f"  threshold {entry.confidence:.4f}, expected coverage {entry.coverage:.1%} of the texts about these intents")
    click.echo(f"  {entry.wrong} of {entry.accepted} accepted were wrong, so at most {entry.error_at_most:.2%} (95 % certainty);")
    click.echo(f"  {entry.held_out} held-out texts")


def _aim(entry: Entry) -> str:
    if entry.costs is None:
        return f"at most {entry.max_error:.2%} wrong"
    wrong, abstain = entry.costs.wrong, entry.costs.abstain
    return f"a wrong decision costs {wrong:g}, an abstention {abstain:g} (break-even at {abstain / wrong:.2%} wrong)"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**9 else "a thousand million"


def _show_llm(found: Measurement) -> None:
    from router.wiring.llm_measuring import shown

    calibration = found.calibration
    asked = f"asked about {found.asked} of {found.left_open} texts, {found.tokens:,} tokens"
    click.echo(f"\nlanguage model {shown(calibration.model_reported)}: {asked}")
    if found.stopped:
        click.echo(f"  stopped, since {found.stopped}")
    for code, count in sorted(found.failed.items()):
        click.echo(f"  {count} without a usable choice: {code}")
    for kind in Kind:
        measured = calibration.of(kind)
        verdict = "may override" if measured.may_override else "no gain found: changes nothing"
        sure = f"confidence {measured.confidence:.3f}"
        click.echo(f"  {kind.value:>8}  {measured.right} right, {measured.wrong} wrong ({measured.lost} harmful)  {sure}  {verdict}")
