"""One of OPA's conformance cases put to the embedded engine: refused at load, an error, or the bindings of the query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import regorus

from adapters.rego.check import check_case
from adapters.rego.embedded import trees
from adapters.rego.syntax import read_module
from router.errors import ConfigError

QUERY = "query.rego"
ASKED = "package lockgate_query\n\nrows contains {{{names}}} if {{\n{query}\n}}\n"  # a rule, which is all that Lockgate ever asks


def answer(case: Mapping[str, Any]) -> dict[str, Any]:
    """`{"refused": why}`, `{"error": what}` or `{"result": rows}`, each row the bindings of one solution."""
    modules = {f"module{number}.rego": text for number, text in enumerate(case.get("modules") or ())}
    data = case.get("data") or {}
    if "input_term" in case:
        try:
            case = {**case, "input": orjson.loads(case["input_term"])}
        except orjson.JSONDecodeError:
            return {"refused": "The input is a term that is no JSON, which no request's is."}
    modules[QUERY] = ASKED.format(names=", ".join(f'"{name}": {name}' for name in _names(case)), query=case["query"])
    try:
        parsed = [read_module(tree) for tree in trees(modules)]
    except ConfigError as error:
        return {"refused": str(error)}
    replaced = (found.path for module in parsed for rule in module.rules for found in rule.uses.replaced)
    faults = check_case(parsed, [*data, *(path[1] for path in replaced if path[:1] == ("data",) and len(path) > 1)])
    if faults:
        return {"refused": faults[0]}
    engine = regorus.Engine()
    try:
        for name, text in modules.items():
            engine.add_policy(name, text)
        engine.add_data_json(orjson.dumps(data).decode())
        if "input" in case:
            engine.set_input_json(orjson.dumps(case["input"]).decode())
        found = engine.eval_rule_as_json("data.lockgate_query.rows")
    except RuntimeError as error:
        return {"error": str(error).partition("\n\nStack")[0].strip()}
    return {"result": orjson.loads(found)}


def _names(case: Mapping[str, Any]) -> list[str]:
    """Of the variables that are asked for."""
    return sorted({name for row in case.get("want_result") or () for name in row})
