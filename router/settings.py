"""What every strict configuration model is made of: the base class and the value types.

Adapters build their own `Config` from these too. A validator never repeats the value it refuses: whoever reports the fault does, and
leaves it out where it came from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainSerializer, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?")
PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m|h|d)")
ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")
LANGUAGE = re.compile(r"[a-z]{2,3}|\*")
NAME = r"^[a-z0-9][a-z0-9_.-]{0,63}$"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port; port 0 asks the system for a free one."""

    host: str
    port: int

    def at(self, port: int) -> Address:
        return Address(self.host, port)

    @property
    def loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def duration(value: object) -> float:
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration such as 250ms, 10s, 5m, 24h or 7d")
    return float(found[1]) * SECONDS[found[2]]


def span(value: object) -> float:
    seconds = duration(value)
    if seconds == 0:
        raise ValueError("must be longer than 0")
    return seconds


def duration_text(seconds: float) -> str:
    millis = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        whole = int(SECONDS[unit] * 1000)
        if millis and millis % whole == 0:
            return f"{millis // whole}{unit}"
    return f"{millis}ms"


def size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a size such as 512B, 64KiB or 10MiB")
    return int(found[1]) * BYTES[found[2] or "B"]


def size_text(count: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % BYTES[unit] == 0:
            return f"{count // BYTES[unit]}{unit}"
    return f"{count}B"


def fraction(value: object) -> float:
    percent = PERCENT.fullmatch(value) if isinstance(value, str) else None
    number = float(percent[1]) / 100 if percent else _number(value)
    if number is None or not 0 <= number <= 1:
        raise ValueError("must be a fraction between 0 and 1, or a percentage such as 1%")
    return number


def rate(value: object) -> float:
    found = RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0:
        raise ValueError("must be a rate such as 50/s, 600/m or 1000/h")
    return float(found[1]) / SECONDS[found[2]]


def rate_text(per_second: float) -> str:
    for unit in ("s", "m", "h", "d"):
        count = per_second * SECONDS[unit]
        if abs(count - round(count)) < 1e-9 and count >= 1:
            return f"{round(count)}/{unit}"
    return f"{per_second:g}/s"


def address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    found = ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[2]) > 65535:
        raise ValueError("must be a host and a port such as 127.0.0.1:8080 or [::1]:8080")
    return Address(found[1].strip("[]"), int(found[2]))


def network(value: object) -> str:
    try:
        return str(ip_network(value))  # type: ignore[arg-type]  # anything but text ends in the ValueError below
    except ValueError:
        raise ValueError("must be a network such as 10.0.0.0/8, with no host bits set") from None


def boolean(value: object) -> bool:
    """Text is what `${NAME}` gives."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false") and isinstance(value, str):
        return value == "true"
    raise ValueError("must be true or false")


def language(value: object) -> str:
    if not isinstance(value, str) or LANGUAGE.fullmatch(value) is None:
        raise ValueError("must be an ISO 639-1 code such as en, or * for any")
    return value


def listed(value: object) -> object:
    """One item may be written without the list around it."""
    return [value] if isinstance(value, str) else value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _text_schema(kind: str, pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples), "x-lockgate-kind": kind})


def _number_schema(kind: str, number: dict[str, Any], pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}], "x-lockgate-kind": kind})


Duration = Annotated[
    float,
    BeforeValidator(duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    _text_schema("duration", r"^\d+(\.\d+)?(ms|s|m|h|d)$", "250ms", "10s", "24h"),
]
Span = Annotated[  # a duration that is not zero
    float,
    BeforeValidator(span),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    _text_schema("duration", r"^\d+(\.\d+)?(ms|s|m|h|d)$", "250ms", "10s", "24h"),
]
Size = Annotated[
    int,
    BeforeValidator(size),
    PlainSerializer(size_text, return_type=str, when_used="json"),
    _number_schema("size", {"type": "integer", "minimum": 0}, r"^\d+(B|KiB|MiB|GiB)?$"),
]
Fraction = Annotated[
    float,
    BeforeValidator(fraction),
    _number_schema("fraction", {"type": "number", "minimum": 0, "maximum": 1}, r"^\d+(\.\d+)?%$"),
]
Rate = Annotated[
    float,
    BeforeValidator(rate),
    PlainSerializer(rate_text, return_type=str, when_used="json"),
    _text_schema("rate", r"^\d+(\.\d+)?/(s|m|h|d)$", "50/s", "600/m"),
]
Listen = Annotated[
    InstanceOf[Address],
    BeforeValidator(address),
    PlainSerializer(str, return_type=str, when_used="json"),
    _text_schema("host and port", r"^.+:\d{1,5}$", "127.0.0.1:8080"),
]
Network = Annotated[str, BeforeValidator(network), _text_schema("network", r"^[0-9a-fA-F:.]+(/\d{1,3})?$", "10.0.0.0/8")]
Bool = Annotated[bool, BeforeValidator(boolean), WithJsonSchema({"type": "boolean"})]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=NAME)]
Count = Annotated[int, Field(ge=1)]
ANY_LANGUAGE = "*"
LanguageCode = Annotated[str, BeforeValidator(language), _text_schema("language", r"^([a-z]{2,3}|\*)$", "en", "*")]
Texts = Annotated[tuple[Text, ...], BeforeValidator(listed, json_schema_input_type=Text | tuple[Text, ...])]
Settings = Mapping[str, Any]
