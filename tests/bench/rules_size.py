"""What looking for the rule of a request costs among a thousand rules of each kind, over ten: the last one holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from router.decision import BodyView
from router.stages.rule import Rule
from router.stages.rules import RuleIndex
from tests.bench.report import Figure, Report, median, spread
from tests.bench.workspace import TEXT

FEW, MANY = 10, 1000
BUDGET_US = 40.0
TURNS = 200


def measure(report: Report, repetitions: int) -> None:
    figures = []
    for kind, make in KINDS.items():
        few, many = (RuleIndex([make(number, number == count - 1) for number in range(count)]) for count in (FEW, MANY))
        ones, others = [], []
        for _ in range(repetitions * 3):
            ones.append(_took(few))
            others.append(_took(many))
        ratio = median(others) / median(ones)
        figures.append(Figure(kind, median(others), "µs", BUDGET_US, spread(others), f"{ratio:.1f} times what it is among {FEW}"))
    report.section(f"Rules — the one that holds, among {MANY:,} of a kind", figures)


def _took(index: RuleIndex) -> float:
    fields = [*((f"x-other-{number}", "v") for number in range(12)), ("x-kind", "last")]
    body = BodyView(b"x", "digest", text=TEXT, json={"action": "last"})
    began = time.process_time()
    for _ in range(TURNS):
        index.look("POST", "/orders/last/4711", fields, body)
    return (time.process_time() - began) / TURNS * 1e6


def _path(number: int, last: bool) -> Rule:
    return Rule(f"r{number}", "look", path="/orders/last/{id}" if last else f"/orders/{number}/{{id}}")


def _header(number: int, last: bool) -> Rule:
    return Rule(f"r{number}", "look", headers=(("x-kind", "last" if last else f"kind-{number}"),))


def _json(number: int, last: bool) -> Rule:
    return Rule(f"r{number}", "look", path="/orders/{rest...}", json=((("action",), "last" if last else f"act-{number}"),))


def _word(number: int, last: bool) -> Rule:
    return Rule(f"r{number}", "look", regex=r"(?i)\bpayment\b" if last else rf"(?i)\bword{number:x}\b")


def _phrase(number: int, last: bool) -> Rule:
    wanted = r"payment\s+\d+" if last else rf"thing{number:x}\s+\d+"
    return Rule(f"r{number}", "look", regex=rf"(?i)\b(?:cancel|stop|is)\s+(?:my|the)?\s*{wanted}.*arrived")


KINDS: dict[str, Callable[[int, bool], Rule]] = {
    "by path": _path,
    "by header": _header,
    "by a value in JSON": _json,
    "by a word in the text": _word,
    "by a phrase in the text": _phrase,
}
