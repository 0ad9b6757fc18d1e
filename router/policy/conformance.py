"""OPA's published conformance cases, and others of their form, put to an engine of ours."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from router.errors import ConfigError
from router.faults import suggestion

ENGINES = {"embedded": "adapters.rego.cases:answer"}
PASS, FAIL, REFUSED, STRICTER = "pass", "fail", "refused", "stricter"
AT_LOAD = ("rego_parse_error", "rego_compile_error", "rego_type_error", "rego_unsafe_var_error", "rego_recursion_error")
DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Case:
    """`category` is the folder that it lies in."""

    file: str
    category: str
    note: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """`refused` at load is a documented limit; so is `stricter`, an error where OPA by default has no answer: both deny. `fail` is a wrong
    answer, an error in place of an answer, or an engine that broke."""

    case: Case
    outcome: str
    why: str = ""


def find_cases(folder: Path) -> list[Case]:
    """Of every YAML file anywhere below that has `cases`. Raises ConfigError."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}:1: The folder does not exist.")
    found: list[Case] = []
    for file in sorted(each for each in folder.rglob("*") if each.suffix in (".yaml", ".yml") and each.is_file()):
        try:
            document = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe loaders
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{file}:1: The file cannot be read as YAML: {str(error).splitlines()[0]}.") from error
        cases = document.get("cases") if isinstance(document, dict) else None
        usable = (
            [each for each in cases if isinstance(each, dict) and isinstance(each.get("query"), str)] if isinstance(cases, list) else []
        )
        found += [Case(str(file.relative_to(folder)), file.parent.name, str(each.get("note", "")), each) for each in usable]
    if not found:
        raise ConfigError(f"{folder}: There is no conformance case in any YAML file below.")
    return found


def run_cases(cases: Sequence[Case], engine: str) -> Iterator[Result]:
    """Each in a process that may die of it. Raises ConfigError for an engine that nobody registered."""
    if engine not in ENGINES:
        raise ConfigError(f"There is no engine '{engine}' that takes cases.{suggestion(engine, ENGINES)}")
    worker = _Worker(ENGINES[engine])
    try:
        for case in cases:
            yield judged(case, worker.ask(case.content))
    finally:
        worker.stop()


def judged(case: Case, said: Mapping[str, Any]) -> Result:
    wanted = case.content
    code, fails = wanted.get("want_error_code"), "want_error" in wanted or "want_error_code" in wanted
    if "refused" in said:
        return Result(case, PASS if code in AT_LOAD else REFUSED, said["refused"])
    if "broke" in said:
        return Result(case, FAIL, said["broke"])
    if "error" in said:
        nothing = wanted.get("want_result") == [] or wanted.get("want_defined") is False
        return Result(case, PASS if fails else STRICTER if nothing else FAIL, said["error"])
    rows = said["result"]
    if fails:
        return Result(case, FAIL, f"It answers {_shown(rows)} where OPA stops with {code or wanted.get('want_error')}.")
    if "want_defined" in wanted and "want_result" not in wanted:
        right = bool(rows) is bool(wanted["want_defined"])
    else:
        right = _same(rows, wanted.get("want_result") or [], sort=bool(wanted.get("sort_bindings")))
    return Result(case, PASS) if right else Result(case, FAIL, f"It answers {_shown(rows)}, OPA {_shown(wanted.get('want_result'))}.")


def unexpected(results: Sequence[Result], known: frozenset[str]) -> list[str]:
    """What to do, in a sentence each: `known` are notes of cases that are known to fail."""
    failed = {each.case.note for each in results if each.outcome == FAIL}
    new = [f"{each.case.file}: {each.case.note}: {each.why}" for each in results if each.outcome == FAIL and each.case.note not in known]
    return [*new, *(f"{note}: It fails no more, and must be taken out of the list." for note in sorted(known - failed))]


def read_ratchet(file: Path) -> frozenset[str]:
    """A note a line; what follows `#` at the beginning of a line is a remark. Raises ConfigError."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}:1: The file cannot be read.") from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def report(results: Sequence[Result]) -> dict[str, Any]:
    categories: dict[str, Counter[str]] = {}
    for each in results:
        categories.setdefault(each.case.category, Counter())[each.outcome] += 1
    counts = Counter(each.outcome for each in results)
    return {
        **{name: counts[name] for name in (PASS, FAIL, REFUSED, STRICTER)},
        "categories": {name: {each: found[each] for each in (PASS, FAIL, REFUSED, STRICTER)} for name, found in sorted(categories.items())},
        "cases": [
            {"file": each.case.file, "category": each.case.category, "note": each.case.note, "outcome": each.outcome, "why": each.why}
            for each in results
        ],
    }


def _same(rows: Any, wanted: Any, *, sort: bool) -> bool:
    """The solutions of a query have no order that an engine must keep, and two alike are one; nor have arrays, where a case says so."""
    return {_canonical(each, sort=sort) for each in rows} == {_canonical(each, sort=sort) for each in wanted}


def _canonical(value: Any, *, sort: bool) -> str:
    return json.dumps(_sorted(_numbers(value)) if sort else _numbers(value), sort_keys=True)


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=lambda each: json.dumps(each, sort_keys=True))
    return {name: _sorted(each) for name, each in value.items()} if isinstance(value, dict) else value


def _numbers(value: Any) -> Any:
    """1.0 is 1; true is not. Keys are texts, as in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    if isinstance(value, dict):
        return {name if isinstance(name, str) else json.dumps(name, default=str): _numbers(each) for name, each in value.items()}
    return value if isinstance(value, str | int | float | None) else str(value)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:200]


class _Worker:
    def __init__(self, target: str) -> None:
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, case: Mapping[str, Any]) -> Mapping[str, Any]:
        process = self._process or self._start()
        said = b""
        try:
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(json.dumps(case, default=str).encode() + b"\n")  # whose integers have no end
                process.stdin.flush()
                if not select.select([process.stdout], [], [], DEADLINE_S)[0]:
                    self.stop()
                    return {"broke": f"The engine gave no answer within {DEADLINE_S:g} seconds."}
                said = process.stdout.readline()
        except BrokenPipeError:
            said = b""
        if not said.endswith(b"\n"):
            self.stop()
            return {"broke": "The engine ended the process."}
        found: Mapping[str, Any] = orjson.loads(said)
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        """Without the current folder among the places of modules: it may be the one that holds the cases, which are a stranger's."""
        command = [sys.executable, "-P", "-m", "router.policy.conformance_worker", self._target]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RUST_BACKTRACE": "0"}
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
