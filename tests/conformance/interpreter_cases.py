"""The embedded interpreter's own test cases as conformance cases, with what OPA answers in place of what its authors want.

    python -m tests.conformance.interpreter_cases SOURCES/tests/interpreter/cases OUT
    lockgate policy conformance OUT

The sources are those of the package `gordon-to-regorus`. What OPA does not take (Rego before version 1), and questions other than one path,
are left out and counted.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from opa_bindings import OpaEngine, OpaError

PATH = re.compile(r"data(\.\w+)*")


def converted(case: dict[str, Any], name: str) -> dict[str, Any] | None:
    modules, query, data = case.get("modules") or [], case.get("query"), case.get("data") or {}
    if not isinstance(query, str) or not PATH.fullmatch(query) or not isinstance(data, dict):
        return None
    asked = {"note": f"{name}/{case.get('note')}", "modules": modules, "query": f"{query} = x", "data": data}
    if "input" in case:
        asked["input"] = case["input"]
    with OpaEngine() as engine:
        engine.print_handler = lambda *_: None
        try:
            for number, text in enumerate(modules):
                engine.add_policy(f"{number}.rego", text)
            engine.add_data(data)
            engine.eval_query("true")
        except (OpaError, TypeError, ValueError):
            return None
        try:
            return {**asked, "want_result": [{"x": row["x"]} for row in engine.eval_query(asked["query"], case.get("input"))]}
        except OpaError as error:
            return {**asked, "want_error_code": "eval_error", "want_error": str(error)[:200]}


def main(source: Path, out: Path) -> None:
    made = left_out = 0
    for file in sorted(source.rglob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        given = document.get("cases") or [] if isinstance(document, dict) else []
        cases = [found for each in given if (found := converted(each, file.stem)) is not None]
        made, left_out = made + len(cases), left_out + len(given) - len(cases)
        target = out / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump({"cases": cases}))
    print(f"{made} cases, {left_out} left out")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
