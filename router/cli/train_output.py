"""The training report on a terminal: the worst of everything, ten lines each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from embeddings.report import AtRisk, IntentFigures, Report
from router.cli.common import console

MOST = 10
FLAWLESS = 1.0


def show(report: Report) -> None:
    weak = [each for each in report.intents if each.f1 is not None and each.f1 < FLAWLESS]
    _print("Coverage at a stated risk", ("risk", "least confidence", "accepted", "wrong", "bound"), map(_at_risk, report.coverage))
    _print("Weakest intents", ("intent", "examples", "precision", "recall", "95 % interval", "F1"), map(_intent, weak))
    _print(
        "Confusions",
        ("intent", "taken for", "times", "such as"),
        ((each.intent, each.taken_for, str(each.count), f"“{each.texts[0]}”") for each in report.confusions),
    )
    _print(
        "Examples that may be mislabelled",
        ("example", "stands under", "looks like", "confidence"),
        ((f"“{each.text}”", each.intent, each.looks_like, f"{each.confidence:.0%}") for each in report.mislabelled),
    )
    # What the tables above show already is not said again.
    _print("Suggestions", ("",), ((each.sentence,) for each in report.suggestions if each.code != "mislabelled_example"))


def _print(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Cells are plain text: what an example holds is never taken for markup."""
    all_rows = list(rows)
    if not all_rows:
        return
    out = console()
    out.print(f"\n[bold]{title}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(heads))
    for head in heads:
        table.add_column(head)
    for row in all_rows[:MOST]:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)
    if len(all_rows) > MOST:
        out.print(f"[dim]… and {len(all_rows) - MOST} more; --report writes all of them[/]")


def _at_risk(each: AtRisk) -> tuple[str, ...]:
    risk = f"{each.max_error * 100:g}%"
    if each.confidence is None or each.bound is None:
        needed = "by no number of such examples" if each.needed is None else f"needs about {each.needed:,} held-out examples"
        return risk, f"not proved; {needed}", "0.0%", "", ""
    return risk, f"{each.confidence:.4f}", f"{each.coverage:.1%}", f"{each.wrong} of {each.accepted:,}", f"{each.bound:.2%}"


def _intent(each: IntentFigures) -> tuple[str, ...]:
    interval = f"{each.recall_least:.0%} to {each.recall_most:.0%}" + (", few" if each.small else "")
    return each.intent, str(each.examples), _share(each.precision), _share(each.recall), interval, _share(each.f1)


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"
