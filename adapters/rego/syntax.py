"""What a Rego file says, read off the interpreter's own syntax tree: its package, imports, rules, calls, references and `with` targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Path = tuple[str, ...]
Node = Mapping[str, Any]
COMPREHENSIONS = ("ArrayCompr", "SetCompr", "ObjectCompr")
REFERENCES = ("RefDot", "RefBrack", "Var")
KIND_ASKING: tuple[Path, ...] = tuple((f"is_{kind}",) for kind in ("object", "array", "string", "number", "boolean", "null"))
COMPLETE, MULTI, FUNCTION = "complete", "multi", "function"


@dataclass(frozen=True, slots=True)
class Reference:
    """`path` is the leading part that is written out; `whole` says that there is no more. `by` is what the next part is looked up by, where
    that is a reference written out. `kind`: it is asked of what kind it is, and nothing else."""

    path: Path
    line: int
    whole: bool = True
    by: Path = ()
    kind: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """`text` is the first argument where that is a literal string; `given` the arguments that are references; `keys` the second argument
    where that is an array of literal strings, `key` where it is one of them alone."""

    name: Path
    arguments: int
    line: int
    text: str | None = None
    given: tuple[Reference | None, ...] = ()
    keys: Path | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reference by `==`, `!=` or `in` with a literal string."""

    found: Reference
    text: str


@dataclass(frozen=True, slots=True)
class Import:
    path: Path
    alias: str
    line: int


@dataclass(slots=True)
class Uses:
    """`negated`: references that OPA evaluates before a `not` around them, so that an undefined one ends the rule instead. `local` are
    variables; `unified` what stands on the left of `=`, which may be one; `declares`: there is a `some` that names variables; `early` what
    stands in a `not` and by itself on a side of `=` only after it; `members` what a literal string is looked for in."""

    calls: list[Call] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    replaced: list[Reference] = field(default_factory=list)
    negated: list[Reference] = field(default_factory=list)
    compared: list[Comparison] = field(default_factory=list)
    members: list[Comparison] = field(default_factory=list)
    local: set[str] = field(default_factory=set)
    unified: set[str] = field(default_factory=set)
    declares: bool = False
    early: list[Reference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rule:
    """`path` is relative to the package. `kind`: complete, multi (sets and objects by key) or function. `parameters` has None for one that
    is no plain name."""

    path: Path
    kind: str
    arity: int
    line: int
    uses: Uses
    parameters: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Module:
    """`package` begins with `data`."""

    file: str
    package: Path
    line: int
    imports: tuple[Import, ...]
    rules: tuple[Rule, ...]


def read_module(tree: Node) -> Module:
    ast = tree["ast"]
    return Module(
        file=tree["source"]["file"],
        package=("data", *reference(ast["package"]["refr"]).path),
        line=ast["package"]["span"]["line"],
        imports=tuple(_import(each, tree["source"]["contents"]) for each in ast["imports"]),
        rules=tuple(_rule(each) for each in ast["rules"]),
    )


def reference(node: Node) -> Reference:
    """`data.a["b"][x].c` is the path data, a, b and not whole."""
    (kind, value), *_ = node.items()
    line = value["span"]["line"]
    if kind == "Var":
        return Reference((value["value"],), line)
    if kind not in REFERENCES:
        return Reference((), line, whole=False)
    inner = reference(value["refr"])
    part = value["field"][1] if kind == "RefDot" else value["index"].get("String", {}).get("value")
    if not inner.whole:
        return Reference(inner.path, line, whole=False, by=inner.by)
    if part is None:
        return Reference(inner.path, line, whole=False, by=_looked_up_by(value["index"]))
    return Reference((*inner.path, part), line)


def _looked_up_by(index: Node) -> Path:
    by = reference(index) if next(iter(index)) in REFERENCES else None
    return by.path if by is not None and by.whole else ()


def _import(node: Node, text: str) -> Import:
    found = reference(node["refr"])
    span = node.get("as")
    alias = text.encode()[span["start"] : span["end"]].decode() if span else found.path[-1]
    return Import(found.path, alias, node["span"]["line"])


def _rule(node: Node) -> Rule:
    (kind, value), *_ = node.items()
    uses = Uses()
    if kind == "Default":
        _collect(value["value"], uses)
        arity = len(value["args"])
        named = tuple(_plain(each) for each in value["args"])
        return Rule(reference(value["refr"]).path, FUNCTION if arity else COMPLETE, arity, value["span"]["line"], uses, named)
    (form, head), *_ = value["head"].items()
    name = reference(head["refr"])
    _collect(list(_indexes(head["refr"])), uses)
    patterns = [each for each in head.get("args", ()) if _plain(each) is None]  # what is given is compared with what they read
    _collect([patterns, head.get("assign"), head.get("key"), value["bodies"]], uses)
    for argument in head.get("args", ()):
        uses.local.update(_variables(argument))
    shape = {"Func": FUNCTION, "Set": MULTI}.get(form, COMPLETE if name.whole else MULTI)
    named = tuple(_plain(each) for each in head.get("args", ()))
    return Rule(name.path, shape, len(named), value["span"]["line"], uses, named)


def _plain(parameter: Node) -> str | None:
    name: str | None = parameter.get("Var", {}).get("value")
    return name


def _collect(node: Any, uses: Uses) -> None:
    if isinstance(node, list):
        for item in node:
            _collect(item, uses)
    elif isinstance(node, dict):
        for kind, value in node.items():
            _collect_one(kind, value, node, uses)


def _collect_one(kind: str, value: Any, node: Node, uses: Uses) -> None:
    if kind in REFERENCES and isinstance(value, dict):
        uses.references.append(reference(node))
        _collect(list(_indexes(node)), uses)
    elif kind == "Call":
        call = _call(value)
        uses.calls.append(call)
        if call.name in KIND_ASKING and len(call.given) == 1 and call.given[0] is not None:
            uses.references.append(replace(call.given[0], kind=call.given[0].whole))
            _collect([*_indexes(value["fcn"]), *_indexes(value["params"][0])], uses)
        else:
            _collect([*_indexes(value["fcn"]), *value["params"]], uses)
    elif kind == "NotExpr":
        uses.negated.extend(_lifted(value["expr"]))
        _collect(value["expr"], uses)
    elif kind == "with_mods":
        for replacement in value:
            uses.replaced.append(reference(replacement["refr"]))
            _collect(replacement["as"], uses)
    else:
        if kind == "stmts":
            uses.early.extend(_early(value))
        _declare(kind, value, uses)
        uses.compared.extend(_compared(kind, value))
        if kind == "Membership":
            uses.members.extend(_with_texts(value["collection"], [value["value"]]))
        _collect(value, uses)


def _compared(kind: str, value: Any) -> Iterator[Comparison]:
    if kind == "BoolExpr" and value["op"] in ("Eq", "Ne"):
        yield from _with_texts(value["lhs"], [value["rhs"]])
        yield from _with_texts(value["rhs"], [value["lhs"]])
    elif kind == "Membership":
        (_, collection), *_ = value["collection"].items()
        yield from _with_texts(value["value"], collection.get("items", ()) if isinstance(collection, dict) else ())


def _with_texts(node: Node, others: Iterable[Any]) -> Iterator[Comparison]:
    if next(iter(node)) in REFERENCES:
        texts = [each.get("String", {}).get("value") for each in others if isinstance(each, dict)]
        yield from (Comparison(reference(node), text) for text in texts if isinstance(text, str))


def _lifted(node: Node) -> Iterator[Reference]:
    """A bare reference and comparisons by `==` are negated whole; comprehensions are always defined."""
    (kind, value), *_ = node.items()
    if kind in REFERENCES:
        yield from (found for index in _indexes(node) for found in _references(index))
    elif kind == "BoolExpr" and value["op"] == "Eq":
        for side in (value["lhs"], value["rhs"]):
            yield from _lifted(side) if next(iter(side)) in REFERENCES else _references(side)
    else:
        yield from _references(node)


def _references(node: Any) -> Iterator[Reference]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind in REFERENCES and isinstance(value, dict):
                yield reference(node)
                yield from _references(list(_indexes(node)))
            elif kind not in COMPREHENSIONS:
                yield from _references([part for name, part in value.items() if name != "fcn"] if kind == "Call" else value)


def _call(value: Node) -> Call:
    first = value["params"][0] if value["params"] else {}
    literal = first.get("String") or first.get("RawString") or {}
    given = tuple(reference(each) if next(iter(each)) in REFERENCES else None for each in value["params"])
    second = value["params"][1] if len(value["params"]) > 1 else {"Array": {"items": [{}]}}
    key = (second.get("String") or second.get("RawString") or {}).get("value")
    return Call(reference(value["fcn"]).path, len(given), value["span"]["line"], literal.get("value"), given, _literals(second), key)


def _literals(node: Node) -> Path | None:
    """The strings of an array that has nothing else."""
    items = node.get("Array", {}).get("items", [{}])
    texts = [item.get("String", {}).get("value") for item in items]
    return tuple(texts) if all(isinstance(text, str) for text in texts) else None


def _declare(kind: str, value: Any, uses: Uses) -> None:
    """Names that a statement binds, or may bind."""
    if kind == "AssignExpr":
        (uses.unified if value["op"] == "Eq" else uses.local).update(_variables(value["lhs"]))
    elif kind == "SomeIn":
        uses.local.update(_variables([value["key"], value["value"]]))
    elif kind == "SomeVars":
        uses.declares = True


def _early(statements: Iterable[Node]) -> Iterator[Reference]:
    negated: dict[str, Reference] = {}
    seen: set[str] = set()
    for statement in statements:
        (kind, value), *_ = statement["literal"].items()
        if kind == "NotExpr":
            negated |= {each.path[0]: each for each in _references(value["expr"]) if each.path and each.path[0] not in seen}
            continue
        seen.update(_variables(value))
        expression = value.get("expr", {}).get("AssignExpr") if kind == "Expr" else None
        if expression is not None and expression["op"] == "Eq":
            names = (side["Var"]["value"] for side in (expression["lhs"], expression["rhs"]) if "Var" in side)
            yield from (negated.pop(name) for name in names if name in negated)


def _indexes(node: Any) -> Iterator[Any]:
    """What stands in the brackets of a reference, and what it begins with where that is no name."""
    (kind, value), *_ = node.items()
    if kind == "RefBrack":
        yield value["index"]
    if kind in ("RefDot", "RefBrack"):
        yield from _indexes(value["refr"])
    elif kind != "Var":
        yield node


def _variables(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _variables(item)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind == "Var" and isinstance(value, dict):
                yield value["value"]
            elif kind != "span":
                yield from _variables(value)
