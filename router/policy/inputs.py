"""Inputs to judge policies by: recorded ones from a file, or ones made from the fixtures that the tests decide on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import regorus

from adapters.rego.embedded import UNDEFINED, compile_all, interpreter
from adapters.rego.reads import places, wanted_texts
from adapters.rego.syntax import COMPLETE, Module
from adapters.rego.testing import PREFIX
from router.errors import ConfigError
from router.policy.evaluating import ENTRIES
from router.policy.folder import PolicyFolder, input_schema

Document = dict[str, Any]
Steps = tuple[str, ...]
SCORES: tuple[Any, ...] = (None, 0, 0.5, 0.7, 0.9, 1)
PAIRS = 2000  # about as many, of inputs in which the one who asks and one other thing are changed, or all that a rule compares with
MIXED = 500  # inputs with several changes at once
MOST_WORDS = 100
NAMED: Steps = ("intent", "name")
INTENTS = ("data", "lockgate", "intents")  # each intent's own package is below


def recorded(file: Path) -> list[Document]:
    """One input a line, by itself or as `{"input": …}`. Raises ConfigError with the line."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{file}:1: The file cannot be read: {error.strerror}.") from error
    found = [_line(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ConfigError(f"{file}:1: There is no input in the file.")
    return found


def _line(file: Path, number: int, line: bytes) -> Document:
    try:
        value = orjson.loads(line)
    except ValueError:
        raise ConfigError(f"{file}:{number}: The line is not JSON.") from None
    if isinstance(value, dict) and isinstance(value.get("input"), dict):
        value = value["input"]
    if not isinstance(value, dict) or value.get("entry") not in ENTRIES:
        raise ConfigError(f"{file}:{number}: The line is no input: its 'entry' must be {' or '.join(ENTRIES)}.")
    return value


def generated(folder: PolicyFolder, others: Sequence[PolicyFolder] = (), *, plain: bool = False) -> list[Document]:
    """The folder's fixtures, whole; each with every value that its policies read replaced by others, and several of them at once. Values
    are those of the schema and the words of the data; `others` are folders of which that holds, too. Also each with all that one body of a
    rule compares with texts as it wants it. Always the same for the same folders.
    Where there are no fixtures, a `plain` request takes their place, or else ConfigError is raised."""
    fixtures = list(_fixtures(folder)) or ([_plain_request()] if plain else [])
    if not fixtures:
        raise ConfigError(f"{folder.path}: There are no fixtures to make inputs of; name a file with --inputs.")
    choices = _choices([folder, *others])
    chance = random.Random(1)  # noqa: S311  # the same inputs every time, nothing secret
    found = list(fixtures)
    for each in fixtures:
        found += [_changed(each, [(path, value)]) for path, values in choices.items() for value in values]
    pairs = list(_pairs(choices))
    spread = pairs[:: max(1, len(pairs) * len(fixtures) // PAIRS)]
    found += [_changed(each, pair) for each in fixtures for pair in spread]
    for _ in range(MIXED):
        paths = chance.sample(list(choices), min(len(choices), chance.randint(2, 4)))
        found.append(_changed(chance.choice(fixtures), [(path, chance.choice(choices[path])) for path in paths]))
    wanted = _wanted([folder, *others])
    among = fixtures[:: max(1, len(wanted) * len(fixtures) // PAIRS)]
    found += [_changed(each, changes) for changes in wanted for each in among]
    return list({orjson.dumps(each, option=orjson.OPT_SORT_KEYS): each for each in found}.values())


def _pairs(choices: Mapping[Steps, Sequence[Any]]) -> Iterator[list[tuple[Steps, Any]]]:
    """Lists, such as roles, under everything that has few values."""
    for (path, values), (other, few) in product(choices.items(), choices.items()):
        if isinstance(values[-1], list) and len(few) <= len(SCORES):
            yield from ([(path, one), (other, two)] for one in values for two in few)


def _fixtures(folder: PolicyFolder) -> Iterator[Document]:
    """What rules of the files of tests say that has an `entry`; one for the decision is one for admission, too."""
    _, tests = compile_all(folder.policies, folder.tests)
    engine = interpreter({**folder.policies, **folder.tests}, orjson.dumps(folder.data).decode())
    schema = input_schema()
    for document in _objects(engine, tests):
        if document.get("entry") == "decision":
            yield _whole(schema["$defs"]["decision"], document, schema)
        if document.get("entry") in ENTRIES:
            parts = {name: document[name] for name in ("version", "request", "subject") if name in document}
            yield _whole(schema["$defs"]["admission"], {**parts, "entry": "admission"}, schema)


def _plain_request() -> Document:
    """One that was understood, with all that was looked at, and nothing found."""
    schema = input_schema()
    classified = {"status": "classified", "intent": "intent", "confidence": 1, "margin": 1}
    route = {"name": "route", "destination": "destination", "why": "intent"}
    document = {"entry": "decision", "version": 1, "classification": classified, "intent": {"name": "intent"}, "route": route}
    made: Document = _whole(schema["$defs"]["decision"], document, schema)
    return made


def _objects(engine: regorus.Engine, tests: Sequence[Module]) -> Iterator[Document]:
    for module in tests:
        for rule in module.rules:
            if rule.kind != COMPLETE or rule.path[:1] == () or rule.path[0].startswith(PREFIX):
                continue
            try:
                answer = engine.eval_rule_as_json(".".join((*module.package, *rule.path)))
            except RuntimeError:
                continue
            value = orjson.loads(answer) if answer != UNDEFINED else None
            if isinstance(value, dict):
                yield value


def _whole(node: Mapping[str, Any], value: Any, schema: Mapping[str, Any]) -> Any:
    """The value, with what the schema requires and it lacks."""
    node = _meant(node, schema)[0]
    if not isinstance(value, dict):
        return value
    known = node.get("properties", {})
    filled = {name: _plain(known[name], schema) for name in node.get("required", ()) if name not in value}
    return {**{name: _whole(known.get(name, {}), each, schema) for name, each in value.items()}, **filled}


def _plain(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """The least value of a kind; null where that is one."""
    kinds = _meant(node, schema)
    if any(each.get("type") == "null" for each in kinds):
        return None
    (kind, *_) = kinds
    if "const" in kind or "enum" in kind:
        return kind.get("const", kind.get("enum", [None])[0])
    if kind.get("type") == "object":
        return _whole(kind, {}, schema)
    empty: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}
    return empty.get(kind.get("type", ""))


def _choices(folders: Sequence[PolicyFolder]) -> dict[Steps, list[Any]]:
    """By path that the policies read, what may stand there."""
    schema, words, paths = input_schema(), words_of([each.data for each in folders])[:MOST_WORDS], set()
    for folder in folders:
        paths |= {each.path for each in places(compile_all(folder.policies, {})[0])}
    findings = sorted(path[2] for path in paths if path[:2] == ("signals", "findings") and len(path) > 2)
    found: dict[Steps, list[Any]] = {}
    for path in sorted(paths):
        values = list(_values(path, schema, words, findings))
        if values:
            found[path] = values
    return found


def _wanted(folders: Sequence[PolicyFolder]) -> list[list[tuple[Steps, Any]]]:
    """By body of a rule, the texts that it compares with or looks for, where it does, and the intent whose package it is in."""
    schema, bodies = input_schema(), dict[tuple[str, int], dict[Steps, Any]]()
    for modules in (compile_all(folder.policies, {})[0] for folder in folders):
        intents = {each.file: each.package[3] for each in modules if each.package[:3] == INTENTS and len(each.package) > 3}
        bodies |= {(file, 0): {NAMED: intent} for file, intent in intents.items()}
        for each in wanted_texts(modules):
            kinds = {node.get("type") for node in _at(each.path, schema)} or {"string"}
            if kinds & {"string", "array"}:
                begun: dict[Steps, Any] = {NAMED: intents[each.file]} if each.file in intents else {}
                wanted = bodies.setdefault((each.file, each.body), begun)
                if "string" in kinds:
                    wanted.setdefault(each.path, each.text)
                else:
                    wanted.setdefault(each.path, []).append(each.text)
    return [list(changes.items()) for changes in bodies.values()]


def _values(path: Steps, schema: Mapping[str, Any], words: Sequence[str], findings: Sequence[str]) -> Iterator[Any]:
    if path == ("signals", "findings"):
        names = [*findings, *(word for word in words if "." in word)]
        yield from ({name: {"score": score, "count": 1}} for name in names for score in SCORES)
        return
    for node in _at(path, schema):
        kind = node.get("type")
        if "enum" in node:
            yield from node["enum"]
        elif kind == "boolean":
            yield from (True, False)
        elif kind == "null":
            yield None
        elif kind == "number":
            yield from SCORES
        elif kind == "string":
            yield from words
        elif kind == "array" and node["items"].get("type") == "string":
            yield []
            yield from ([word] for word in words)


def _at(path: Steps, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the schema says of a decision's path."""
    nodes = _meant(schema["$defs"]["decision"], schema)
    for part in path:
        below = [node["properties"][part] for node in nodes if part in node.get("properties", {})]
        nodes = [found for child in below for found in _meant(child, schema)]
    return nodes


def _meant(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        return _meant(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    others = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    return [found for each in others for found in _meant(each, schema)] if others else [node]


def words_of(data: Iterable[Any]) -> list[str]:
    """The texts and keys of the data, which is what policies compare with; all of them."""
    found: dict[str, None] = {}
    ahead = list(data)
    while ahead:
        value = ahead.pop(0)
        if isinstance(value, str):
            found[value] = None
        elif isinstance(value, dict):
            found.update(dict.fromkeys(map(str, value)))
            ahead.extend(value.values())
        elif isinstance(value, list):
            ahead.extend(value)
    return sorted(found)


def _changed(document: Document, changes: Sequence[tuple[Steps, Any]]) -> Document:
    for path, value in changes:
        document = put(document, path, value)
        if path in (("classification", "intent"), ("intent", "name")) and isinstance(value, str):  # the two are one thing
            document = put(put(document, ("classification", "intent"), value), ("intent", "name"), value)
    return document


def put(document: Document, path: Steps, value: Any) -> Document:
    """A copy with another value; the same where there is no such place."""
    first, rest = path[0], path[1:]
    if not rest:
        return {**document, first: value} if first in document else document
    below = document.get(first)
    return {**document, first: put(below, rest, value)} if isinstance(below, dict) else document


def without(document: Document, path: Steps) -> Document:
    first, rest = path[0], path[1:]
    if not rest:
        return {name: value for name, value in document.items() if name != first}
    below = document.get(first)
    return {**document, first: without(below, rest)} if isinstance(below, dict) else document
