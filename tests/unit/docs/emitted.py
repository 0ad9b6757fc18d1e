"""Reason codes that the code can emit, read from its syntax: where a code stands in a call, a class, an assignment or an answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("router", "adapters")
SLUG = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)*")

# Which argument of a call is a code, by place and by keyword.
ARGUMENTS: Mapping[str, tuple[int, str]] = {
    **dict.fromkeys(
        (
            "LockgateError",
            "RefusedError",
            "IdentityError",
            "ClassifierError",
            "PolicyError",
            "AuditError",
            "ReviewError",
            "StateError",
            "BundleError",
        ),
        (1, "code"),
    ),
    **dict.fromkeys(("DestinationError", "RemoteError", "refusal", "problem", "answer", "_refuse"), (1, "code")),
    **dict.fromkeys(("failure", "Reason", "refused", "_wrong"), (0, "code")),
    **dict.fromkeys(("Outcome", "respond_problem"), (2, "reason")),
    "_shed": (3, "code"),
    "LocalReply": (2, "code"),
    "_none": (1, "reason"),
    "_abstained": (2, "reason"),
    "Classification": (9, "reason"),
    "BodyView": (4, "problem"),
}
# Names that only ever hold codes, and functions and tables that only ever give them.
VARIABLES = frozenset({"reason", "problem", "code", "ending"})
TABLES = frozenset({"ENDINGS", "HTTP_CODES", "STATUS", "REVIEW_STATUS", "AUDIT_STATUS", "FAILURES"})
ANSWERING = frozenset({"read_text", "_refusal", "_pump"})
# Verification's findings are no reasons of a request: `audit verify` prints them with a sentence each.
FINDINGS = {"Fault": (1, "kind")}


@dataclass(frozen=True, slots=True)
class Module:
    path: Path
    tree: ast.Module
    constants: Mapping[str, str]


@cache
def reason_codes() -> frozenset[str]:
    return frozenset(_python(ARGUMENTS)) | frozenset(_in_places()) | frozenset(rego_codes())


def findings() -> frozenset[str]:
    return frozenset(_python(FINDINGS))


def rego_codes() -> frozenset[str]:
    """Codes of the policies that come with Lockgate, tests left out."""
    files = [file for file in (ROOT / "policies").rglob("*.rego") if not file.name.endswith("_test.rego")]
    return frozenset(code for file in files for code in re.findall(r'\breason\("([^"]+)"', file.read_text(encoding="utf-8")))


@cache
def modules() -> tuple[Module, ...]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    trees = [(file, ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    everywhere = {name: value for _, tree in trees for name, value in _constants(tree)}
    return tuple(Module(file, tree, {**everywhere, **dict(_constants(tree))}) for file, tree in trees)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for target, value in zip(targets, values, strict=False):
                if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield target.id, value.value


def _python(arguments: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and (place := arguments.get(_name(node.func))) is not None:
                yield from _argument(module, node, *place)


def _argument(module: Module, call: ast.Call, place: int, keyword: str) -> Iterator[str]:
    if len(call.args) > place:
        yield from _codes(module, call.args[place])
    for given in call.keywords:
        if given.arg == keyword:
            yield from _codes(module, given.value)


def _in_places() -> Iterator[str]:
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                yield from (code for given in node.keywords if given.arg in VARIABLES for code in _codes(module, given.value))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                yield from _assigned(module, node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _function(module, node)


def _assigned(module: Module, node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = list(zip(target.elts, node.value.elts, strict=True)) if len(target.elts) == len(node.value.elts) else []
    else:
        pairs = [] if node.value is None else [(target, node.value)]
    for name, value in pairs:
        if isinstance(name, ast.Name) and name.id in VARIABLES:
            yield from _codes(module, value)
        if isinstance(name, ast.Name) and name.id in TABLES and not isinstance(value, ast.Constant):
            yield from (code for part in _parts(value) for each in ast.walk(part) for code in _codes(module, each))


def _parts(table: ast.expr) -> list[ast.expr]:
    """Of a table from what somebody else calls a failure to our code, only the codes."""
    if isinstance(table, ast.Dict) and all(isinstance(each, ast.Constant) and SLUG.fullmatch(str(each.value)) for each in table.values):
        return table.values
    return [table]


def _function(module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Defaults of parameters that hold codes, and what an answering function returns."""
    names = [each.arg for each in node.args.args]
    for name, default in zip(reversed(names), reversed(node.args.defaults), strict=False):
        if name in VARIABLES:
            yield from _codes(module, default)
    if node.name in ANSWERING:
        for inside in ast.walk(node):
            if isinstance(inside, ast.Return) and inside.value is not None:
                for each in inside.value.elts if isinstance(inside.value, ast.Tuple) else [inside.value]:
                    yield from _codes(module, each)


def _codes(module: Module, node: ast.expr | ast.AST) -> Iterator[str]:
    """A literal, a module's constant, or either of two."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if SLUG.fullmatch(node.value):
            yield node.value
    elif isinstance(node, ast.Name) and node.id.isupper() and node.id in module.constants:
        yield module.constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from _codes(module, node.body)
        yield from _codes(module, node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _codes(module, value)


def _name(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
