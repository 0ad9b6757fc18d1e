"""`lockgate policy test`: the tests beside the rules, in the engine that decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from adapters.rego.testing import FAILED, PASSED, SKIPPED, Covered, TestOutcome, TestRun, run_tests
from router.cli.common import config_option, console, json_option, print_json
from router.cli.policy.options import data_option, folder_argument
from router.policy.folder import find

FAULTY = 1


def share(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """`90%`, `90` or `0.9` as 0.9."""
    if value is None:
        return None
    try:
        number = float(value.removesuffix("%"))
    except ValueError:
        raise click.BadParameter(f"'{value}' is no percentage.") from None
    found = number if number <= 1 and not value.endswith("%") else number / 100
    if not 0 <= found <= 1:
        raise click.BadParameter(f"'{value}' is not between 0% and 100%.")
    return found


@click.command()
@folder_argument
@config_option
@data_option
@json_option
@click.option("--coverage", is_flag=True, help="Show what no test evaluates, by line.")
@click.option("--threshold", callback=share, metavar="90%", help="Fail where less of the lines is evaluated by tests.")
@click.option("--run", "pattern", metavar="TEXT", default="", help="Only tests whose name has this in it.")
@click.option("--verbose", "-v", is_flag=True, help="Show tests that pass, and what they print.")
def test(
    folder: Path | None,
    config: Path,
    data: Path | None,
    as_json: bool,
    coverage: bool,
    threshold: float | None,
    pattern: str,
    verbose: bool,
) -> int:
    """Run the tests of FOLDER, or else of the workspace's policies: rules `test_…` in files `…_test.rego`.

    They run in the embedded engine. A test that it would not answer as OPA does fails, and says why. The exit status is 1 when a test
    fails, when there is none, or when less is covered than the threshold.
    """
    found = find(folder, config, data)
    run = run_tests(found.policies, found.tests, found.data, pattern)
    run = replace(run, coverage=tuple(each for each in run.coverage if each.file not in found.made))
    thin = threshold is not None and run.share < threshold
    failed = run.failed or thin
    if as_json:
        print_json(_described(run, not failed))
    else:
        _show(run, verbose)
        if coverage or threshold is not None:
            _show_coverage(run, threshold)
    return FAULTY if failed else 0


def _described(run: TestRun, ok: bool) -> dict[str, Any]:
    count = {name: sum(each.outcome == name for each in run.outcomes) for name in (PASSED, FAILED, SKIPPED)}
    tests = [_test(each) for each in run.outcomes]
    files = [{"file": each.file, "covered": each.lines, "missed": each.missed} for each in run.coverage]
    return {"ok": ok, **count, "coverage": round(run.share, 4), "tests": tests, "files": files}


def _test(each: TestOutcome) -> dict[str, Any]:
    return {
        "name": each.name,
        "file": each.file,
        "line": each.line,
        "outcome": each.outcome,
        "reason": each.reason,
        "printed": each.printed,
        "us": each.took_ns // 1000,
    }


def _show(run: TestRun, verbose: bool) -> None:
    out = console()
    for each in run.outcomes:
        if each.outcome == FAILED or verbose:
            style = {PASSED: "green", FAILED: "red"}.get(each.outcome, "yellow")
            out.print(f"[{style}]{each.outcome}[/] {escape(each.name)} ({each.took_ns / 1000:,.0f} µs)" if verbose else escape(each.name))
            if each.reason:
                out.print(f"  {escape(f'{each.file}:{each.line}: {each.reason}')}", style="red")
            for line in each.printed:
                out.print(f"  {escape(line)}", style="dim")
    if not run.outcomes:
        out.print("[red]There is no test.[/]")
        return
    counts = [f"{sum(each.outcome == name for each in run.outcomes):,} {name}" for name in (PASSED, FAILED, SKIPPED)]
    out.print(f"[{'red' if run.failed else 'green'}]{', '.join(counts)}[/]")


def _show_coverage(run: TestRun, threshold: float | None) -> None:
    out = console()
    for each in run.coverage:
        if each.missed:
            out.print(escape(f"{each.file}: lines {ranges(each.missed)} are evaluated by no test ({_percent(each)})"))
    enough = threshold is None or run.share >= threshold
    wanted = f", of {threshold:.0%} that are asked for" if threshold is not None else ""
    out.print(f"[{'green' if enough else 'red'}]{run.share:.1%} of the lines are evaluated by tests{wanted}[/]")


def _percent(each: Covered) -> str:
    return f"{len(each.lines) / (len(each.lines) + len(each.missed)):.0%} covered"


def ranges(lines: Iterable[int]) -> str:
    """`3, 5-7`."""
    parts: list[list[int]] = []
    for line in sorted(lines):
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
