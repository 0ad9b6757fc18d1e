"""Policies that say which of their rules held: a copy of their text in which every body of a rule prints when it is begun and when it is
true to its end, with the rule's value and what its variables were bound to. The copy explains; the policies themselves decide."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import regorus

from adapters.rego.embedded import interpreter, trees
from adapters.rego.syntax import FUNCTION, Node, Path, read_module

MARK = re.compile(r"^.*?:\d+: lockgate#(?P<number>\d+) (?P<what>tried|held) ?(?P<rest>.*)$", re.DOTALL)
QUOTES = (b'"', b"`")


@dataclass(frozen=True, slots=True)
class Definition:
    """One body of a rule, an `else` being one of its own; `rule` is its full path. `body` counts those that are written together, of which
    several may be on one line. `always`: it has no condition."""

    rule: Path
    file: str
    line: int
    function: bool
    body: int = 0
    always: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.rule[1:])


@dataclass(frozen=True, slots=True)
class Held:
    """A definition that was true: with this value (the element, of a set) and these variables. None where they cannot be told."""

    definition: Definition
    value: Any
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explained:
    """`held` in the order in which they held, without repetition; `not_held` were begun and never true."""

    answer: str
    held: tuple[Held, ...]
    not_held: tuple[Definition, ...]


def without(policies: Mapping[str, str], definitions: Mapping[Definition, str | None] | Collection[Definition]) -> dict[str, str]:
    """The same policies on the same lines, in which none of these definitions is ever true, or each has the value that is written for it;
    but those of a file for which that cannot be written."""
    instead = definitions if isinstance(definitions, Mapping) else dict.fromkeys(definitions)
    files = {each.file for each in instead}
    texts = dict(policies)
    for tree in trees({name: text for name, text in policies.items() if name in files}):
        file, text = tree["source"]["file"], tree["source"]["contents"].encode()
        bodies = [(body, instead[definition]) for definition, body in _definitions(tree, text) if definition in instead]
        for changed in (_otherwise(text, bodies), _with(text, [piece for body, _ in bodies for piece in body.never()])):
            if _compiles(file, changed):
                texts[file] = changed
                break
    return texts


class Explainer:
    def __init__(self, policies: Mapping[str, str], data: Mapping[str, Any]) -> None:
        """Policies that compile, and are loaded without fault."""
        self.definitions: list[Definition] = []
        texts = {tree["source"]["file"]: self._instrumented(tree) for tree in trees(policies)}
        self._pristine = interpreter(texts, orjson.dumps(data).decode())
        self._pristine.set_gather_prints(True)

    def explain(self, rule: str, document: Mapping[str, Any]) -> Explained:
        """`rule` is asked as `data.….result`. An error of the policies ends what there is to tell; the answer is empty then."""
        engine = self._pristine.clone()
        engine.set_input_json(orjson.dumps(document).decode())
        try:
            answer: str = engine.eval_rule_as_json(rule)
        except RuntimeError:
            answer = ""
        return self._explained(answer, engine.take_prints())

    def _explained(self, answer: str, printed: Sequence[str]) -> Explained:
        held: dict[str, Held] = {}
        tried: dict[int, None] = {}
        for line in printed:
            found = MARK.match(line)
            if found is None:
                continue
            number = int(found["number"])
            tried[number] = None
            if found["what"] == "held":
                held.setdefault(f"{number} {found['rest']}", self._held(number, found["rest"]))
        true = {each.definition for each in held.values()}
        return Explained(
            answer, tuple(held.values()), tuple(self.definitions[each] for each in tried if self.definitions[each] not in true)
        )

    def _held(self, number: int, rest: str) -> Held:
        try:
            said = orjson.loads(rest)
        except ValueError:
            said = {}
        return Held(self.definitions[number], said.get("value"), said.get("variables", {}))

    def _instrumented(self, tree: Node) -> str:
        """With values and variables where that can be written; without them otherwise."""
        before = len(self.definitions)
        for told in (True, False):
            del self.definitions[before:]
            text = self._rewritten(tree, told)
            if _compiles(tree["source"]["file"], text):
                return text
        return str(tree["source"]["contents"])

    def _rewritten(self, tree: Node, told: bool) -> str:
        text: bytes = tree["source"]["contents"].encode()
        added: list[tuple[int, bytes]] = []
        for definition, body in _definitions(tree, text):
            number = len(self.definitions)
            self.definitions.append(definition)
            added += body.marks(number, told)
        return _with(text, added)


@dataclass(frozen=True, slots=True)
class _Body:
    """From `start` to `end` in bytes; `braced` says whether braces are around it, `absent` that it is to be written. `assigned` is where
    `value` begins; 0 where it is no value that a body has."""

    line: int
    start: int
    end: int
    braced: bool
    absent: bool
    value: bytes | None
    variables: tuple[str, ...]
    assigned: int = 0

    def marks(self, number: int, told: bool) -> Iterator[tuple[int, bytes]]:
        """What is to be added, by place."""
        tried, held = f'print("lockgate#{number} tried")\n'.encode(), self._held(number, told)
        if self.absent:
            yield self.end, b" if { " + tried + held + b" }"
        elif self.braced:
            yield self.start + 1, b" " + tried
            yield self.end - 1, b"\n" + held
        else:
            yield self.start, b"{ " + tried
            yield self.end, b"\n" + held + b" }"

    def never(self) -> Iterator[tuple[int, bytes]]:
        """What makes it never true, on no line more."""
        if self.absent:
            yield self.end, b" if { false }"
        elif self.braced:
            yield self.start + 1, b" false; "
        else:
            yield self.start, b"{ false; "
            yield self.end, b" }"

    def _held(self, number: int, told: bool) -> bytes:
        parts = [b'"variables": {' + b", ".join(f'"{name}": {name}'.encode() for name in self.variables) + b"}"]
        if self.value is not None:
            parts.append(b'"value": ' + self.value)
        said = b", json.marshal({" + b", ".join(parts) + b"})" if told else b""
        return f'print("lockgate#{number} held"'.encode() + said + b")"


def _compiles(file: str, text: str) -> bool:
    try:
        regorus.Engine().add_policy(file, text)
    except RuntimeError:
        return False
    return True


def _otherwise(text: bytes, bodies: Sequence[tuple[_Body, str | None]]) -> str:
    """With these values in place of the bodies' own, on as many lines; a body without one is never true."""
    added = [(place, 0, piece) for body, value in bodies if value is None or not body.assigned for place, piece in body.never()]
    values = {
        (body.assigned, len(body.value)): b"\n" * body.value.count(b"\n") + b" " + value.encode()
        for body, value in bodies
        if value is not None and body.assigned and body.value is not None
    }
    for place, length, piece in sorted([*added, *((*at, piece) for at, piece in values.items())], reverse=True):
        text = text[:place] + piece + text[place + length :]
    return text.decode()


def _definitions(tree: Node, text: bytes) -> Iterator[tuple[Definition, _Body]]:
    module = read_module(tree)
    for rule, node in zip(module.rules, tree["ast"]["rules"], strict=True):
        for number, body in enumerate(_bodies(node, text)):
            yield Definition((*module.package, *rule.path), module.file, body.line, rule.kind == FUNCTION, number, body.absent), body


def _with(text: bytes, added: Sequence[tuple[int, bytes]]) -> str:
    """With pieces at their places."""
    for place, piece in sorted(added, reverse=True):
        text = text[:place] + piece + text[place:]
    return text.decode()


def _bodies(rule: Node, text: bytes) -> Iterator[_Body]:
    """None of a default, which holds where nothing else does."""
    spec = rule.get("Spec")
    if spec is None:
        return
    (_, head), *_ = spec["head"].items()
    own, at = (_element(head, text), 0) if head.get("key") else _assigned(head.get("assign"), text)
    at = 0 if "RefBrack" in head.get("refr", {}) else at  # a key may stand there, and the value is one of several
    if not spec["bodies"]:
        yield _Body(spec["span"]["line"], 0, _end(spec["span"], text), False, True, own, (), at)
    for place, body in enumerate(spec["bodies"]):
        query, statements = body["query"]["span"], body["query"]["stmts"]
        value, place_of = _assigned(body["assign"], text) if body["is_else"] else (own, at)
        line = body["span"]["line"] if place else spec["span"]["line"]
        if not statements:
            yield _Body(line, 0, _end(body["span"], text), False, True, value, (), place_of)
            continue
        braced = statements[0]["span"]["start"] > query["start"] and text[query["start"] : query["start"] + 1] == b"{"
        start, end = (query["start"], query["end"]) if braced else (_start(query, text), _end(query, text))
        yield _Body(line, start, end, braced, False, value, tuple(_variables(statements)), place_of)


def _start(span: Node, text: bytes) -> int:
    """The span of a string begins behind its quote."""
    start: int = span["start"]
    return start - 1 if text[start - 1 : start] in QUOTES else start


def _end(span: Node, text: bytes) -> int:
    """The span of a string ends before its quote, and that of `a[b]` before its bracket."""
    end: int = span["end"]
    if text[end : end + 1] in QUOTES:
        end += 1
    inside = text[span["start"] : end]
    for _ in range(inside.count(b"[") - inside.count(b"]")):
        end = text.find(b"]", end) + 1 or end
    return end


def _assigned(assign: Node | None, text: bytes) -> tuple[bytes | None, int]:
    """What is written behind `:=` or `=`, and where. The span of an object does not say where it begins, that of an assignment does."""
    if assign is None:
        return None, 0
    end = _end(assign["span"], text)
    value = text[assign["span"]["start"] : end].lstrip(b":=")
    return value, end - len(value)


def _element(head: Node, text: bytes) -> bytes:
    """What is written behind `contains`."""
    whole = text[head["span"]["start"] : _end(head["span"], text)]
    return whole.partition(b" contains ")[2]


def _variables(statements: Sequence[Node]) -> Iterator[str]:
    """What the statements themselves bind; what is bound within comprehensions is known only there."""
    seen: set[str] = set()
    for statement in statements:
        for name in _bound(statement["literal"]):
            if name not in seen and not name.startswith("_"):
                seen.add(name)
                yield name


def _bound(literal: Node) -> Iterator[str]:
    if "SomeIn" in literal:
        for part in ("key", "value"):
            yield from _names(literal["SomeIn"][part])
    assigned = literal.get("Expr", {}).get("expr", {}).get("AssignExpr")
    if assigned is not None and assigned["op"] == "ColEq":
        yield from _names(assigned["lhs"])


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _names(item)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind == "Var" and isinstance(value, dict):
                yield value["value"]
            elif kind != "span":
                yield from _names(value)
