"""`lockgate policy eval`: one input put to the policies, and which rules decided."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import data_option, folder_argument
from router.decision import Effect
from router.errors import ConfigError
from router.policy.evaluating import Cause, Evaluation, Policies
from router.policy.folder import find

STYLES = {Effect.ALLOW: "green", Effect.DENY: "red"}
WIDTH = 100


@click.command(name="eval")
@click.argument("document", metavar="INPUT.json", type=click.File("rb"))
@folder_argument
@config_option
@data_option
@json_option
@click.option("--trace", is_flag=True, help="Show every rule that was come to, in order, with what its variables were bound to.")
def evaluate(document: Any, folder: Path | None, config: Path, data: Path | None, as_json: bool, trace: bool) -> None:
    """Put one input ('-' for standard input) to the policies in FOLDER, or else to the workspace's.

    Shown are the verdict as the gateway would get it, and by file and line the rules that each reason and obligation comes from. Values of
    the input appear in it.
    """
    given = read_document(document.read(), document.name)
    found = Policies(find(folder, config, data)).evaluate(given)
    if as_json:
        print_json(described(found, trace=trace))
    else:
        _show(console(), found, trace)


def read_document(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ConfigError(f"{name}:{getattr(error, 'lineno', 1)}: The file is not JSON.") from error
    if isinstance(value, dict) and value.keys() == {"input"}:
        value = value["input"]
    if not isinstance(value, dict):
        raise ConfigError(f"{name}:1: The input must be a JSON object.")
    return value


def described(found: Evaluation, *, trace: bool) -> dict[str, Any]:
    verdict = found.verdict
    told: dict[str, Any] = {
        "effect": verdict.effect.value,
        "status": verdict.status,
        "route": verdict.reroute,
        "decided": [f"{each.file}:{each.line}" for each in found.decided],
        "reasons": [{"code": reason.code, "message": reason.message, "rules": _causes(causes)} for reason, causes in found.reasons],
        "obligations": [{"name": duty.name, "params": duty.params, "rules": _causes(causes)} for duty, causes in found.obligations],
        "digest": verdict.digest,
    }
    return {**told, "trace": list(_trace(found))} if trace else told


def _causes(causes: Sequence[Cause]) -> list[dict[str, Any]]:
    return [
        {
            "rule": each.definition.name,
            "file": each.definition.file,
            "line": each.definition.line,
            "held": each.held,
            "because": _causes(each.because),
        }
        for each in causes
    ]


def _trace(found: Evaluation) -> Iterator[dict[str, Any]]:
    for each in found.explained:
        for held in each.held:
            place = {"rule": held.definition.name, "file": held.definition.file, "line": held.definition.line}
            yield {**place, "held": True, "value": held.value, "variables": held.variables}
        for missed in each.not_held:
            yield {"rule": missed.name, "file": missed.file, "line": missed.line, "held": False}


def _show(out: Console, found: Evaluation, trace: bool) -> None:
    verdict = found.verdict
    route = f" to {verdict.reroute}" if verdict.reroute else f" with {verdict.status}" if verdict.status else ""
    at = ", ".join(f"{each.file}:{each.line}" for each in found.decided)
    out.print(
        f"[bold {STYLES.get(verdict.effect, 'yellow')}]{verdict.effect.value}[/]{escape(route)}" + (escape(f"  ({at})") if at else "")
    )
    for reason, causes in found.reasons:
        out.print(f"  {escape(reason.code)}: {escape(reason.message)}")
        _show_causes(out, causes, 2)
    for duty, causes in found.obligations:
        out.print(f"  must {escape(duty.name)} {escape(json.dumps(duty.params, ensure_ascii=False))}")
        _show_causes(out, causes, 2)
    if trace:
        out.print("trace:")
        for each in _trace(found):
            mark = "[green]held[/]    " if each["held"] else "[dim]not held[/]"
            rule, bound = each["rule"], "".join(f"  {name} = {_short(value)}" for name, value in each.get("variables", {}).items())
            value = f" = {_short(each['value'])}" if each.get("value") is not None else ""
            where = f"{each['file']}:{each['line']}"
            out.print(f"  {mark} {escape(f'{where} {rule}{value}{bound}')}")


def _show_causes(out: Console, causes: Sequence[Cause], depth: int) -> None:
    for each in causes:
        where, word = f"{each.definition.file}:{each.definition.line}", "" if each.held else " did not hold"
        out.print(f"{'  ' * depth}{escape(f'{where} {each.definition.name}{word}')}", style="" if each.held else "dim")
        _show_causes(out, each.because, depth + 1)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"
