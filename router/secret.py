"""Secrets in configuration: written as `${NAME}` or `{file: path}`, read late, never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from router.errors import ConfigError

HIDDEN = "(secret)"


class Secret:
    """Either the value itself or the file that holds it. `repr`, `str` and every dump say only that there is one."""

    __slots__ = ("_value", "file")

    def __init__(self, value: str | None = None, file: str | None = None) -> None:
        self._value = value
        self.file = file

    def reveal(self, root: Path) -> str:
        """The secret text; a file is read now, relative to `root`, without its last line break. Raises ConfigError."""
        if self._value is not None:
            return self._value
        path = root / (self.file or "")
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"{path}:1: The secret cannot be read: {why}.") from error

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.file) == (other._value, other.file)

    def __hash__(self) -> int:
        return hash((self._value, self.file))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_secret, serialization=core_schema.plain_serializer_function_ser_schema(repr))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        from_file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"], "additionalProperties": False}
        return {"anyOf": [{"type": "string", "minLength": 1}, from_file]}


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value:
        return Secret(value)
    if isinstance(value, dict) and list(value) == ["file"] and isinstance(value["file"], str) and value["file"]:
        return Secret(file=value["file"])
    # A custom error and not a ValueError: its report never repeats the value.
    raise PydanticCustomError("secret", "must be text such as ${NAME}, or {file: path}")
