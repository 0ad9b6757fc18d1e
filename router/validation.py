"""Runs a strict model over a parsed document and turns pydantic's errors into sentences with a line."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.faults import Document, Fault, Loc, dotted, suggestion
from router.secret import Source

Model = TypeVar("Model", bound=BaseModel)

SENTENCES = {
    "missing": "must be set",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_invalid": "must have {discriminator} as one of {expected_tags}",
    "union_tag_not_found": "must have the key {discriminator}",
    "string_pattern_mismatch": "must be a name of lower-case letters, digits, '_', '.' and '-', at most 64 long",
}


def validate(
    model: type[Model], document: Document, loc: Loc = (), value: Any = None, vault: Source | None = None
) -> tuple[Model | None, list[Fault]]:
    """`vault` is where secrets come from that are in one.
    `value` stands for the part of the document at `loc`, when it is not simply what is written there."""
    try:
        return model.model_validate(document.at(loc) if value is None else value, context={"vault": vault}), []
    except ValidationError as error:
        errors = _deepest(error.errors(include_url=False))
        known = [e for e in errors if document.real((*loc, *e["loc"])) not in document.unset]
        return None, [document.fault((*loc, *e["loc"]), _sentence(model, document, loc, e)) for e in known]


def _deepest(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the complaint that a list is too short whose items were the trouble."""
    return [e for e in errors if e["type"] != "too_short" or not any(o["loc"][: len(e["loc"])] == e["loc"] and o is not e for o in errors)]


def _sentence(model: type[BaseModel], document: Document, prefix: Loc, error: ErrorDetails) -> str:
    inner, kind = error["loc"], error["type"]
    name = dotted((*prefix, *inner))
    if kind == "extra_forbidden":
        where = dotted((*prefix, *inner[:-1]))
        place = f" in '{where}'" if where else ""
        return f"Unknown key '{inner[-1]}'{place}.{suggestion(str(inner[-1]), _fields(model, inner[:-1]))}"
    if inner and inner[-1] == "[key]":
        return f"The key '{inner[-2]}' in '{dotted((*prefix, *inner[:-2]))}' {_problem(error)}."
    problem = _problem(error)
    given = _given(document, (*prefix, *inner), error) if problem.startswith("must be ") else ""
    return f"{_quoted(name)} {problem}{given}."


def _quoted(name: str) -> str:
    return f"'{name}'" if name else "The file"


def _problem(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] in ("value_error", "assertion_error"):
        return str(context["error"])
    if error["type"] in SENTENCES:
        return SENTENCES[error["type"]].format(**context)
    message = error["msg"]
    return message[:1].lower() + message[1:].rstrip(".")


def _given(document: Document, loc: Loc, error: ErrorDetails) -> str:
    """What was written, for short plain values; never what came from the environment, nor a secret."""
    if error["type"] in ("missing", "secret"):
        return ""
    written = document.written.get(document.real(loc))
    if written is not None:
        return f", which the value of {written} is not"
    value = error["input"]
    if isinstance(value, bool) or value is None:
        return f", not {'null' if value is None else str(value).lower()}"
    if isinstance(value, int | float):
        return f", not {value}"
    return f", not '{value}'" if isinstance(value, str) and 0 < len(value) <= 80 else ""


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that are known where `loc` leads."""
    kind: Any = model
    for part in loc:
        kind = _model(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field is not None else None
        elif isinstance(kind, tuple):
            kind = kind[0]
    kind = _model(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _model(kind: Any) -> Any:
    """Unwraps Annotated and Optional; a container becomes a one-tuple of what it contains."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _model(arguments[0])
    if origin in (Union, types.UnionType):
        return next((_model(part) for part in arguments if part is not type(None)), None)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return (arguments[-1],)
    if origin is tuple or origin is list:
        return (arguments[0],)
    return kind
