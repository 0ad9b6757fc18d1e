"""Rego tests in the interpreter that decides in production: every `test_…` rule of the files of tests, with what was covered by line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import regorus

from adapters.rego.check import check_apart, misjudged
from adapters.rego.embedded import UNDEFINED, check_data, compile_all, interpreter, where
from adapters.rego.syntax import COMPLETE, FUNCTION, Module, Path, Rule
from router.errors import ConfigError

PREFIX, TODO = "test_", "todo_test_"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """`name` has the package; `reason` says why it failed, `printed` what it printed."""

    __test__ = False  # nothing for pytest to collect

    name: str
    file: str
    line: int
    outcome: str
    reason: str = ""
    printed: tuple[str, ...] = ()
    took_ns: int = 0


@dataclass(frozen=True, slots=True)
class Covered:
    """Lines of one file that were evaluated, and that could have been and were not."""

    file: str
    lines: tuple[int, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TestRun:
    __test__ = False

    outcomes: tuple[TestOutcome, ...]
    coverage: tuple[Covered, ...]

    @property
    def failed(self) -> bool:
        """No test at all is a failure, too."""
        return not any(each.outcome == PASSED for each in self.outcomes) or any(each.outcome == FAILED for each in self.outcomes)

    @property
    def share(self) -> float:
        """Of the lines that can be covered; 1 where there is none."""
        lines, missed = (sum(len(getattr(each, name)) for each in self.coverage) for name in ("lines", "missed"))
        return lines / (lines + missed) if lines + missed else 1.0


def run_tests(policies: Mapping[str, str], tests: Mapping[str, str], data: Mapping[str, Any], pattern: str = "") -> TestRun:
    """`data` is there while the tests run, as `opa test policies data.yaml` has it; only tests run that have `pattern` in their names.
    Raises ConfigError where the policies cannot be loaded or a file of tests does not compile."""
    check_data(data)
    modules, written = compile_all(policies, tests)
    faults = check_apart(modules)
    if faults:
        raise ConfigError(*faults)
    runner = _Runner({**policies, **tests}, data)
    unable = misjudged(modules, written)
    outcomes = [runner.outcome(module, rule, unable.get(path, [])) for module, path, rule in _tests(written) if pattern in ".".join(path)]
    return TestRun(tuple(outcomes), tuple(sorted(runner.coverage(policies), key=lambda each: each.file)))


def _tests(modules: Sequence[Module]) -> Iterator[tuple[Module, Path, Rule]]:
    """Each once, where its first definition is."""
    seen: set[Path] = set()
    for module in sorted(modules, key=lambda each: each.file):
        for rule in module.rules:
            path = (*module.package, *rule.path)
            if rule.path[:1] and rule.path[0].startswith((PREFIX, TODO)) and rule.kind != FUNCTION and path not in seen:
                seen.add(path)
                yield module, path, rule


class _Runner:
    def __init__(self, texts: Mapping[str, str], data: Mapping[str, Any]) -> None:
        self._lines = {file: text.splitlines() for file, text in texts.items()}
        self._pristine = interpreter(texts, orjson.dumps(data).decode())
        self._pristine.set_gather_prints(True)
        self._pristine.set_enable_coverage(True)
        self._engine = self._pristine.clone()
        self._covered: dict[str, set[int]] = {}
        self._missed: dict[str, set[int]] = {}

    def outcome(self, module: Module, rule: Rule, unable: Sequence[str]) -> TestOutcome:
        name = ".".join((*module.package[1:], *rule.path))
        if rule.path[0].startswith(TODO):
            return TestOutcome(name, module.file, rule.line, SKIPPED)
        if rule.kind != COMPLETE:
            unable = ["Tests with cases by key are not run; write a test for each."]
        if unable:
            return TestOutcome(name, module.file, rule.line, FAILED, f"The test cannot run in this engine. {' '.join(unable)}")
        started = time.perf_counter_ns()
        try:
            answer = self._engine.eval_rule_as_json(f"data.{name}")
        except RuntimeError as error:
            answer = f"It stopped with an error {where(error)}."
        took, printed = time.perf_counter_ns() - started, tuple(self._engine.take_prints())
        if answer == "true":
            return TestOutcome(name, module.file, rule.line, PASSED, printed=printed, took_ns=took)
        line, reason = self._why(module, rule, name, answer)
        return TestOutcome(name, module.file, line, FAILED, reason, printed, took)

    def _why(self, module: Module, rule: Rule, name: str, answer: str) -> tuple[int, str]:
        """The last line of the test that was come to, which is the one that was not true."""
        self._collect()
        self._engine = self._pristine.clone()
        if answer != UNDEFINED:
            return rule.line, answer if answer.startswith("It ") else f"It is {answer[:80]}, not true."
        if sum(each.path == rule.path for each in module.rules) > 1:
            return rule.line, "None of its definitions is true."
        alone = self._pristine.clone()
        alone.clear_coverage_data()
        alone.eval_rule_as_json(f"data.{name}")
        end = min((each.line for each in module.rules if each.line > rule.line), default=1 << 30)
        lines = [line for each in _files(alone) if each["path"] == module.file for line in each["covered"] if rule.line <= line < end]
        line = max(lines, default=rule.line)
        return line, f"Not true: {self._lines[module.file][line - 1].strip()}"

    def coverage(self, policies: Mapping[str, str]) -> Iterator[Covered]:
        self._collect()
        trees = {tree["source"]["file"]: tree["ast"] for tree in orjson.loads(self._pristine.get_ast_as_json())}
        for file in policies:
            covered = self._covered.get(file, set())
            missed = self._missed.get(file) if file in self._missed else set(_lines(trees[file]["rules"]))
            yield Covered(file, tuple(sorted(covered)), tuple(sorted((missed or set()) - covered)))

    def _collect(self) -> None:
        for each in _files(self._engine):
            self._covered.setdefault(each["path"], set()).update(each["covered"])
            self._missed.setdefault(each["path"], set()).update(each["not_covered"])


def _lines(node: Any) -> Iterator[int]:
    """Where there is something to evaluate: the interpreter reports nothing of a file of which it evaluated nothing."""
    if isinstance(node, list):
        for item in node:
            yield from _lines(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "stmts":
                yield from (each["span"]["line"] for each in value)
            if name in ("key", "assign", "value") and isinstance(value, dict):
                yield from _spans(value)
            yield from _lines(value)


def _spans(node: Mapping[str, Any]) -> Iterator[int]:
    """Of an assignment, or of an expression of any kind."""
    inner = node if "span" in node else next(iter(node.values()), None)
    if isinstance(inner, dict) and "span" in inner:
        yield inner["span"]["line"]


def _files(engine: regorus.Engine) -> Iterator[Mapping[str, Any]]:
    yield from orjson.loads(engine.get_coverage_report_as_json())["files"]
