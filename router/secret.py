"""Secrets in configuration: written as `${NAME}`, `{file: path}` or `{vault: path, field: name}`, read late, never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from router.errors import ConfigError
from router.faults import Loc

HIDDEN = "(secret)"
PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


@dataclass(frozen=True, slots=True, order=True)
class InVault:
    """A field of a secret in a vault, by the path under the mount."""

    path: str
    field: str


class Source(Protocol):
    """Where secrets of a vault come from."""

    def known(self, place: InVault) -> str | None:
        """What was read already; asks nobody."""

    def value(self, place: InVault) -> str:
        """Asks the vault where nobody did before. Raises ConfigError."""


class Secret:
    """Either the value itself, or the file or the vault that holds it. `repr`, `str` and every dump say only that there is one."""

    __slots__ = ("_source", "_value", "file", "vault")

    def __init__(
        self, value: str | None = None, file: str | None = None, vault: InVault | None = None, source: Source | None = None
    ) -> None:
        self._value = value
        self.file = file
        self.vault = vault
        self._source = source

    def reveal(self, root: Path) -> str:
        """The secret text; a file is read now, relative to `root`, without its last line break. Raises ConfigError."""
        if self._value is not None:
            return self._value
        if self.vault is not None:
            if self._source is None:
                raise ConfigError("A secret is in a vault, and nothing here may ask one.")
            return self._source.value(self.vault)
        path = root / (self.file or "")
        try:
            return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"{path}:1: The secret cannot be read: {why}.") from error

    @property
    def here(self) -> bool:
        """Whether it can be told now without reading a file or asking a vault."""
        return self._value is not None or self._of_vault is not None

    @property
    def _of_vault(self) -> str | None:
        return None if self.vault is None or self._source is None else self._source.known(self.vault)

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        """Another value in the vault makes it another secret: whoever uses it is made anew."""
        return isinstance(other, Secret) and (self._written, self._of_vault) == (other._written, other._of_vault)

    def __hash__(self) -> int:
        return hash(self._written)

    @property
    def _written(self) -> tuple[str | None, str | None, InVault | None]:
        return self._value, self.file, self.vault

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_secret, serialization=core_schema.plain_serializer_function_ser_schema(repr))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        from_file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"], "additionalProperties": False}
        parts = {"vault": {"type": "string"}, "field": {"type": "string"}}
        from_vault = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
        return {"anyOf": [{"type": "string", "minLength": 1}, from_file, from_vault]}


def secrets_in(loc: Loc, value: object) -> Iterator[tuple[Loc, Secret]]:
    """Every secret of validated settings, and where it is written."""
    if isinstance(value, Secret):
        yield loc, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from secrets_in((*loc, field.serialization_alias or field.alias or name), getattr(value, name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from secrets_in((*loc, name), each)
    elif isinstance(value, tuple | list):
        for index, each in enumerate(value):
            yield from secrets_in((*loc, index), each)


def _secret(value: object, info: core_schema.ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value:
        return Secret(value)
    if isinstance(value, dict) and list(value) == ["file"] and isinstance(value["file"], str) and value["file"]:
        return Secret(file=value["file"])
    if isinstance(value, dict) and value.keys() == {"vault", "field"}:
        return Secret(vault=_in_vault(value["vault"], value["field"]), source=(info.context or {}).get("vault"))
    # A custom error and not a ValueError: its report never repeats the value.
    raise PydanticCustomError("secret", "must be text such as ${NAME}, {file: path}, or {vault: path, field: name}")


def _in_vault(path: object, field: object) -> InVault:
    """The path becomes a part of a URL; what could lead out of the mount is refused."""
    if not isinstance(path, str) or not PATH.fullmatch(path) or any(set(part) <= {"."} for part in path.split("/")):
        raise PydanticCustomError("secret", "must have as 'vault' a path of letters, digits, '_', '-', '.' and '/' under the mount")
    if not isinstance(field, str) or not field:
        raise PydanticCustomError("secret", "must have as 'field' the name of one of the secret's fields")
    return InVault(path, field)
