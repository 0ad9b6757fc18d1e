"""Input mappings: `{{ expression }}` in configured values, compiled when the configuration is read and filled in for each request.

Expressions are Jinja's, held to what is harmless whoever wrote the values in them: no statements, calls, attributes, products or globals;
a name is looked up in the document and nowhere else. A value that is one expression keeps its type; text around it makes text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import orjson
from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema

ROOTS = ("body", "decision", "event", "request", "subject", "trace")
FILTERS = (
    "abs", "default", "first", "float", "int", "join", "last", "length", "list", "lower", "replace", "round", "string", "title", "trim",
    "truncate", "upper",
)  # fmt: skip
MOST_BYTES = 1 << 20
SHORT_CHARS = 4096
MOST_DEEP = 32

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter,
    nodes.Keyword, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Add, nodes.Sub,
    nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
)  # fmt: skip


class UnmappedError(ValueError):
    """The document lacks what a template asks for; one sentence, with the template's words and none of the document's."""


class _Environment(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """`a.b` is a field of a document, also where it is called `items`; nothing has attributes."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            if isinstance(obj, Mapping | list | tuple | str) and not isinstance(obj, Undefined):
                return obj[argument]
        except (LookupError, TypeError):
            pass
        return self.undefined(obj=obj, name=argument)


def _told(value: Any) -> Any:
    """Within a text nothing becomes the word None."""
    if value is None:
        raise UnmappedError("the request has no value where the input mapping puts it into a text")
    return value


def _environment() -> _Environment:
    made = _Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, cache_size=0, finalize=_told)
    made.filters = {name: made.filters[name] for name in FILTERS}
    made.tests, made.globals = {}, {}
    return made


_ENVIRONMENT = _environment()
Fill = Callable[[Mapping[str, Any]], Any]


class InputTemplate:
    """A JSON value with expressions in it, ready to be filled in. `source` is what was written."""

    __slots__ = ("_fill", "source")

    def __init__(self, source: Any) -> None:
        """Raises ValueError with one sentence."""
        self.source = source
        self._fill = _compiled(source, 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InputTemplate) and self.source == other.source

    def __hash__(self) -> int:
        return hash(orjson.dumps(self.source))

    def __repr__(self) -> str:
        return f"InputTemplate({self.source!r})"

    def fill(self, document: Mapping[str, Any]) -> Any:
        """Raises UnmappedError where the document lacks something, or the result is no JSON value of at most a mebibyte."""
        try:
            value = self._fill(document)
            if not _is_short(value) and len(orjson.dumps(value)) > MOST_BYTES:
                raise UnmappedError("what the input mapping makes of the request is larger than a mebibyte")
        except UnmappedError:
            raise
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise UnmappedError(f"the input mapping does not fit the request: {type(error).__name__}") from error
        return value


class TextTemplate(InputTemplate):
    """One line of text with expressions in it."""

    __slots__ = ()

    def __init__(self, source: str) -> None:
        if not isinstance(source, str) or not source:
            raise ValueError("must be text, which may hold {{ expressions }}")
        super().__init__(source)

    def fill(self, document: Mapping[str, Any]) -> str:
        """Raises UnmappedError, also for a result that is empty, or no text, number or boolean, or has control characters."""
        value = super().fill(document)
        if _is_short(value) and value:
            return str(value)
        if value is None or not isinstance(value, str | int | float) or value == "":
            raise UnmappedError(f"{self.source!r} gives no text for this request")
        text = str(value)
        if not text.isprintable():
            raise UnmappedError(f"{self.source!r} gives text with control characters")
        return text


def _is_short(value: Any) -> bool:
    """Whether it is text that is JSON at a glance and far below a mebibyte of it; what is printable has no lone surrogates either."""
    return type(value) is str and len(value) <= SHORT_CHARS and value.isprintable()


def _compiled(source: Any, deep: int) -> Fill:
    if deep > MOST_DEEP:
        raise ValueError(f"is nested deeper than {MOST_DEEP} levels")
    if isinstance(source, str):
        return _compiled_text(source)
    if isinstance(source, Mapping):
        fields = [(_plain_key(name), _compiled(item, deep + 1)) for name, item in source.items()]
        return lambda document: {name: fill(document) for name, fill in fields}
    if isinstance(source, list | tuple):
        items = [_compiled(item, deep + 1) for item in source]
        return lambda document: [fill(document) for fill in items]
    if source is None or isinstance(source, bool | int | float):
        return lambda _: source
    raise ValueError("must be a JSON value")


def _plain_key(name: object) -> str:
    if not isinstance(name, str) or "{{" in name:
        raise ValueError("has a key that is no plain text: expressions stand in values")
    return name


def _compiled_text(source: str) -> Fill:
    if not any(mark in source for mark in ("{{", "{%", "{#")):
        return lambda _: source
    try:
        parsed = _ENVIRONMENT.parse(source)
        _check(parsed, source)
        if not _is_one_expression(parsed, source):
            return _ENVIRONMENT.from_string(source).render
        expression = _ENVIRONMENT.compile_expression(source[2:-2].strip("-+ \n\t"), undefined_to_none=False)
    except TemplateError as error:
        raise ValueError(f"has {source!r}, which is no expression: {error}") from None

    def fill(document: Mapping[str, Any]) -> Any:
        value = expression(**document)
        if isinstance(value, Undefined):
            raise UnmappedError(f"the request has nothing for {source!r}")
        return value

    path = _path(parsed)
    return fill if path is None else _along(path, fill)


def _path(parsed: nodes.Template) -> list[str] | None:
    """The names of `{{ a.b.c }}`; None for any other expression."""
    ((node,),) = (output.nodes for output in parsed.body if isinstance(output, nodes.Output))
    names: list[str] = []
    while isinstance(node, nodes.Getattr):
        names.insert(0, node.attr)
        node = node.node
    return [node.name, *names] if isinstance(node, nodes.Name) else None


def _along(path: Sequence[str], otherwise: Fill) -> Fill:
    """A path through objects, without Jinja, which takes ten times as long for it. Whatever is not there Jinja is asked for after all."""

    def fill(document: Mapping[str, Any]) -> Any:
        value: Any = document
        try:
            for name in path:
                if type(value) is not dict and not isinstance(value, Mapping):  # almost always one, which is quicker to see
                    return otherwise(document)
                value = value[name]
        except LookupError:
            return otherwise(document)
        return value

    return fill


def _is_one_expression(parsed: nodes.Template, source: str) -> bool:
    written = [node for output in parsed.body if isinstance(output, nodes.Output) for node in output.nodes]
    return len(written) == 1 and not isinstance(written[0], nodes.TemplateData) and source[:2] == "{{" and source[-2:] == "}}"


def _check(parsed: nodes.Template, source: str) -> None:
    for node in parsed.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            raise ValueError(f"has {source!r}: only fields, comparisons, conditions and filters may be used")
        if isinstance(node, nodes.Name) and node.name not in ROOTS:
            raise ValueError(f"has {source!r}: there is no '{node.name}'; there are {', '.join(ROOTS)}")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise ValueError(f"has {source!r}: there is no filter '{node.name}'; there are {', '.join(FILTERS)}")


def _input(value: object) -> InputTemplate:
    return value if isinstance(value, InputTemplate) else InputTemplate(value)


def _text(value: object) -> TextTemplate:
    return value if isinstance(value, TextTemplate) else TextTemplate(value)  # type: ignore[arg-type]  # it says what is wrong


Input = Annotated[
    InstanceOf[InputTemplate],
    BeforeValidator(_input),
    PlainSerializer(lambda made: made.source),
    WithJsonSchema({"description": "JSON with {{ expressions }}", "x-lockgate-kind": "input mapping"}),
]
Line = Annotated[
    InstanceOf[TextTemplate],
    BeforeValidator(_text),
    PlainSerializer(lambda made: made.source),
    WithJsonSchema({"type": "string", "x-lockgate-kind": "text with {{ expressions }}"}),
]
