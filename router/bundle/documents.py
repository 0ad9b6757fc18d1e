"""Documents of a bundle, and their digests as OPA takes them: of `data.json`, `data.yaml` and `.manifest` not the bytes count but what they
say, written in one form (keys in order, no spaces, numbers as they were written)."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from router.errors import BundleError
from router.yaml_source import read_yaml

MANIFEST, SIGNATURES = ".manifest", ".signatures.json"
JSON_DATA, YAML_DATA = "data.json", ("data.yaml", "data.yml")
DATA = (JSON_DATA, *YAML_DATA)
STRUCTURED = (JSON_DATA, "data.yaml", "signatures.json", MANIFEST)  # OPA leaves `data.yml` out
HASHES = {"SHA-256": hashlib.sha256, "SHA-384": hashlib.sha384, "SHA-512": hashlib.sha512}  # of OPA's, those that nobody can forge
DEFAULT_HASH = "SHA-256"
MAX_DEPTH = 40


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def file_digest(name: str, content: bytes, algorithm: str = DEFAULT_HASH) -> str:
    """In hex. Raises BundleError for an algorithm that is not used here, and for a document that cannot be read."""
    hashed = HASHES.get(algorithm)
    if hashed is None:
        raise BundleError(f"The digest of '{name}' is made with '{algorithm[:20]}', which is not one of {', '.join(HASHES)}.")
    return hashed(_said(name, content) if name.rpartition("/")[2] in STRUCTURED else content).hexdigest()


def read_document(name: str, content: bytes) -> Any:
    """A JSON or YAML document of a bundle. Raises BundleError."""
    return _yaml(name, content) if name.endswith(YAML_DATA) else _json(name, content, numbers=False)


def _said(name: str, content: bytes) -> bytes:
    value = _yaml(name, content) if name.endswith(YAML_DATA) else _json(name, content, numbers=True)
    try:
        return _written(value).encode()
    except UnicodeEncodeError:
        raise BundleError(f"The file '{name}' holds half of a character.") from None


def _json(name: str, content: bytes, *, numbers: bool) -> Any:
    kept: dict[str, Any] = {"parse_int": _Number, "parse_float": _Number} if numbers else {}
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refused, **kept)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"The file '{name}' is no JSON document with each key once.") from error
    if _depth(value) > MAX_DEPTH:
        raise BundleError(f"The file '{name}' is nested too deeply.")
    return value


def _yaml(name: str, content: bytes) -> Any:
    document, faults = read_yaml(name, content, None)
    if faults or document is None:
        raise BundleError(str(faults[0]) if faults else f"The file '{name}' is no YAML document.")
    return document.value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _depth(value: Any) -> int:
    """Up to one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())]
        depth += 1
    return depth


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_written(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return _go_float(value)
    return json.dumps(value)


def _text(value: str) -> str:
    """Go's encoder escapes what JavaScript once took for line ends."""
    return json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _go_float(value: float) -> str:
    """As Go writes a number that it read from YAML: the shortest digits, with an exponent from 1e21 on and below 1e-6."""
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa, _, exponent = format(Decimal(repr(value)).normalize(), "e").partition("e")
    sign, digits = exponent[0], exponent[1:].lstrip("0")
    return f"{mantissa}e{sign}{digits.zfill(2) if sign == '+' else digits}"
