"""YAML the way configuration needs it: positions kept, nothing guessed, nothing executed.

Scalars as in the YAML 1.2 core schema, less its rarities: only `true` and `false` are booleans, only `null`, `~` and nothing are null,
dates are text. Tags, merge keys, duplicate keys and several documents in one file are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from router.faults import Document, Fault, Loc

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 40
MAX_NODES = 500_000  # nodes after aliases are written out, so that nested aliases cannot grow without end
INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(?=[0-9]*[.eE])(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
VARIABLE = re.compile(r"\$(\$)?\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\})?")
BARE_VARIABLE = re.compile(r"[\[{,:]\s*\$\{")
# Bidirectional overrides and isolates make a file say something else than what a reviewer sees.
HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class _StopError(Exception):
    """Nothing after this fault can be trusted."""


def decode(file: str, data: bytes) -> tuple[str, list[Fault]]:
    """Text of a UTF-8 file; a byte order mark is dropped."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "", [Fault(file, data.count(b"\n", 0, error.start) + 1, "The file is not UTF-8 text.")]
    found = HIDDEN.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        return "", [Fault(file, line, f"The control character U+{ord(found[0]):04X} is not allowed.")]
    return text, []


def read_yaml(file: str, data: bytes, environment: Mapping[str, str] | None) -> tuple[Document | None, list[Fault]]:
    """The document, or None when the file is not readable as YAML at all; with every fault that was found. Without an environment,
    `${NAME}` is text like any other."""
    text, faults = decode(file, data)
    if faults:
        return None, faults
    reader = _Reader(file, text, environment)
    try:
        return reader.document(), reader.faults
    except yaml.YAMLError as error:
        return None, [_syntax_fault(file, text, error)]
    except _StopError:
        return None, reader.faults


class _Reader:
    def __init__(self, file: str, text: str, environment: Mapping[str, str] | None) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self._environment = environment
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=LOADER))
        self._lines: dict[Loc, int] = {}
        self._written: dict[Loc, str] = {}
        self._unset: set[Loc] = set()
        self._anchors: dict[str, tuple[Loc, Any]] = {}

    def document(self) -> Document:
        value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fault(event, "Only one YAML document belongs in a file.")
                    raise _StopError
                value = self._node(next(self._events), ())
        return Document(self.file, value, self._lines, self._written, frozenset(self._unset))

    def _node(self, event: Any, path: Loc) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        self._lines.setdefault(path, _line(event))
        if len(path) > MAX_DEPTH or len(self._lines) > MAX_NODES:
            self._fault(event, "The file is nested too deeply or has too many values.")
            raise _StopError
        if event.tag not in (None, "!"):
            self._fault(event, "YAML tags such as !!str are not supported; write the plain value.")
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._scalar(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (path, value)
        return value

    def _mapping(self, path: Loc) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._fault(event, "A key must be plain text.")
                raise _StopError
            key, again = event.value, event.value in result
            if again:
                first = self._lines[(*path, key)]
                self._fault(event, f"The key '{key}' is already set on line {first}.")
            elif key == "<<":
                self._fault(event, "YAML merge keys (<<) are not supported; write the values out.")
            else:
                self._lines[(*path, key)] = _line(event)
            value = self._node(next(self._events), (*path, key))
            if not again and key != "<<":
                result[key] = value
        return result

    def _sequence(self, path: Loc) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            result.append(self._node(event, (*path, len(result))))
        return result

    def _alias(self, event: Any, path: Loc) -> Any:
        if event.anchor not in self._anchors:
            self._fault(event, f"The alias *{event.anchor} names no anchor above it.")
            raise _StopError
        source, value = self._anchors[event.anchor]
        self._lines.setdefault(path, _line(event))
        for table in (self._lines, self._written):
            _copy_below(table, source, path)
            if len(table) > MAX_NODES:
                self._fault(event, "The aliases in this file grow into too many values.")
                raise _StopError
        return value

    def _scalar(self, event: Any, path: Loc) -> Any:
        if "${" in event.value and self._environment is not None:
            self._written[path] = event.value
            return self._filled(event, path, self._environment)
        if event.style in (None, ""):
            return plain(event.value)
        return event.value

    def _filled(self, event: Any, path: Loc, environment: Mapping[str, str]) -> str:
        def fill(found: re.Match[str]) -> str:
            escaped, name, default = found.groups()
            if escaped:
                return found[0][1:]
            if name is None:
                self._unfilled(event, path, "'${' must be followed by NAME} or NAME:-default}; write '$${' for the characters themselves.")
                return ""
            value = environment.get(name) or (default[2:] if default else "")
            if not value and default is None:
                self._unfilled(event, path, f"The environment variable {name} is not set, or empty.")
            return value

        return VARIABLE.sub(fill, event.value)

    def _unfilled(self, event: Any, path: Loc, sentence: str) -> None:
        self._unset.add(path)
        self._fault(event, sentence)

    def _fault(self, event: Any, sentence: str) -> None:
        self.faults.append(Fault(self.file, _line(event), sentence))


def _line(event: Any) -> int:
    number: int = event.start_mark.line + 1
    return number


def plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _copy_below(table: dict[Loc, Any], source: Loc, target: Loc) -> None:
    depth = len(source)
    below = [(path[depth:], found) for path, found in table.items() if path[:depth] == source and len(path) > depth]
    for rest, found in below:
        table.setdefault((*target, *rest), found)


def _syntax_fault(file: str, text: str, error: yaml.YAMLError) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Fault(file, 1, f"The file is not valid YAML: {str(error).splitlines()[0]}.")
    lines = text.split("\n")
    mark: Any = error.problem_mark
    index = min(mark.line, len(lines) - 1)
    line = lines[index]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Fault(file, index + 1, "The line is indented with a tab; YAML wants spaces.")
    if "flow" in (error.context or "") and BARE_VARIABLE.search(line):
        return Fault(file, index + 1, "Within braces or brackets ${NAME} has to stand in quotes: YAML takes its braces for its own.")
    begun: Any = error.context_mark
    where = f" ({error.context} that begins on line {begun.line + 1})" if error.context and begun else ""
    return Fault(file, index + 1, f"The file is not valid YAML: {error.problem}{where}.")
