"""JSON Schemas, of configuration or of a peer. Nothing that they refer to is fetched, and of a value is told only where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

LATEST = jsonschema.Draft202012Validator


def fault_of(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a schema."""
    try:
        validator_for(schema, LATEST).check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.message} at {error.json_path}"
    except RecursionError:
        return "it is nested too deeply"
    return None


def misfit(schema: Mapping[str, Any], value: Any) -> str | None:
    """Where the value does not fit, and by which keyword."""
    try:
        error = next(validator_for(schema, LATEST)(schema, registry=Registry()).iter_errors(value), None)
    except Unresolvable:
        return "the schema refers to what is not in it"
    except RecursionError:
        return "it is nested too deeply"
    return None if error is None else f"{error.json_path} breaks '{error.validator}'"
