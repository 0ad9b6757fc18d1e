"""What a method takes and gives, from a FileDescriptorSet, and JSON as its request (ProtoJSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message

from router.errors import ConfigError

WELL_KNOWN = "google.protobuf."  # their JSON form is none of fields


class Method:
    """Raises ConfigError with one sentence: no such method, one that streams, a file that is no such set."""

    def __init__(self, path: Path, name: str) -> None:
        self._pool = _pool(path)
        service, _, method = name.rpartition("/")
        found = _method(self._pool, service, method)
        if found is None:
            raise ConfigError(f"{path}:1: There is no method {name} in these descriptors.{_others(self._pool, service)}")
        if found.client_streaming or found.server_streaming:
            raise ConfigError(f"The method {name} streams; only one request with one response can be called.")
        self.takes: Descriptor = found.input_type
        self._request = message_factory.GetMessageClass(found.input_type)
        self._response = message_factory.GetMessageClass(found.output_type)

    def encoded(self, value: Any) -> bytes:
        """Raises ValueError for what is no such message; its words may have the value."""
        if not isinstance(value, Mapping):
            raise ValueError("not an object")
        made: Message = self._request()
        try:
            json_format.ParseDict(dict(value), made, descriptor_pool=self._pool)
            return made.SerializeToString()
        except (json_format.ParseError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from None

    def decoded(self, data: bytes) -> bytes:
        """JSON. Raises ValueError."""
        made: Message = self._response()
        try:
            made.ParseFromString(data)
            return orjson.dumps(json_format.MessageToDict(made, descriptor_pool=self._pool))
        except (DecodeError, json_format.Error, TypeError, RecursionError, orjson.JSONEncodeError) as error:
            raise ValueError(str(error)) from None

    def check(self, source: Any) -> None:
        """An input mapping as it is written: its keys are fields, and its values without expressions fit. Raises ConfigError."""
        for fault in _unknown(self.takes, source, ""):
            raise ConfigError(f"The input mapping has '{fault}', which is no field of {self.takes.full_name}.")
        literal = _literal(source)
        if isinstance(literal, Mapping):
            try:
                self.encoded(literal)
            except ValueError as error:
                raise ConfigError(f"The input mapping does not fit {self.takes.full_name}: {error}") from None


def checked(path: Path, name: str, source: Any) -> Method:
    """`source`: the input mapping as it is written, or None. Raises ConfigError."""
    made = Method(path, name)
    if source is not None:
        made.check(source)
    return made


def _pool(path: Path) -> descriptor_pool.DescriptorPool:
    made = descriptor_pb2.FileDescriptorSet()
    try:
        made.ParseFromString(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The descriptors {path.name} cannot be read: {error.strerror}.") from error
    except DecodeError:
        raise ConfigError(f"The descriptors {path.name} are no FileDescriptorSet; protoc --descriptor_set_out writes one.") from None
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in made.file:
            pool.Add(file)
        for file in made.file:
            pool.FindFileByName(file.name)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"The descriptors {path.name} lack what they import; protoc --include_imports adds it.") from error
    return pool


def _method(pool: descriptor_pool.DescriptorPool, service: str, method: str) -> MethodDescriptor | None:
    try:
        found: MethodDescriptor | None = pool.FindServiceByName(service).methods_by_name.get(method)
    except KeyError:
        return None
    return found


def _others(pool: descriptor_pool.DescriptorPool, service: str) -> str:
    try:
        return f" The service has {', '.join(pool.FindServiceByName(service).methods_by_name)}."
    except KeyError:
        return ""


def _unknown(message: Descriptor, source: Any, place: str) -> Iterator[str]:
    """Paths of keys that are no fields."""
    if not isinstance(source, Mapping) or message.full_name.startswith(WELL_KNOWN):
        return
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    for name, value in source.items():
        field = fields.get(name)
        if field is None:
            yield f"{place}{name}"
        elif field.message_type is not None:
            yield from _within(field.message_type, value, f"{place}{name}.")


def _within(message: Descriptor, value: Any, place: str) -> Iterator[str]:
    if not message.GetOptions().map_entry:
        for each in value if isinstance(value, list | tuple) else [value]:
            yield from _unknown(message, each, place)
        return
    inner = message.fields_by_name["value"].message_type
    if inner is not None and isinstance(value, Mapping):
        for each in value.values():
            yield from _unknown(inner, each, place)


def _literal(source: Any) -> Any:
    """Without what has expressions."""
    if isinstance(source, Mapping):
        return {name: _literal(value) for name, value in source.items() if not _expression(value)}
    if isinstance(source, list | tuple):
        return [_literal(value) for value in source if not _expression(value)]
    return source


def _expression(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value
