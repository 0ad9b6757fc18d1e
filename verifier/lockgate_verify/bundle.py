"""`lockgate.bundle.v1` as values. Unknown and missing keys, wrong types and forms are refused; nothing is verified here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate_verify import strict_json
from lockgate_verify.failure import Refusal
from lockgate_verify.note import MAX_SIZE, Checkpoint, Proof, unbase64

FORMAT = "lockgate.bundle.v1"
MAX_BYTES = 16 * 2**20
MAX_LEAF = 65_535
_NAME = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, slots=True)
class Opened:
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Erased:
    """`erasure` is the index of the record that ordered it, None where the bundle has none."""

    key_id: str
    sealed: bytes
    erasure: int | None


@dataclass(frozen=True, slots=True)
class Record:
    index: int
    leaf: bytes
    proof: Proof
    opened: Mapping[str, Opened]
    erased: Erased | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """`handover` is the record's place in a tree that the old key signed; None where the old key did not vouch."""

    record: Record
    handover: tuple[Proof, Checkpoint] | None


@dataclass(frozen=True, slots=True)
class Consistency:
    old: int
    new: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    decision: str
    checkpoint: Checkpoint
    records: tuple[Record, ...]
    erasures: tuple[Record, ...]
    rotations: tuple[Rotation, ...]
    consistency: Consistency | None

    def all_records(self) -> tuple[Record, ...]:
        return (*self.records, *self.erasures, *(rotation.record for rotation in self.rotations))


def parse_bundle(raw: bytes) -> Bundle:
    """Raises Refusal of step 1."""
    if len(raw) > MAX_BYTES:
        raise Refusal(1, "bundle_too_large", f"The bundle is larger than {MAX_BYTES} bytes.")
    try:
        document = strict_json.parse(raw)
    except strict_json.StrictError as error:
        sentence = "The bundle is not JSON without duplicate keys, fractions, lone surrogates, large integers and deep nesting."
        raise Refusal(1, "bundle_not_json", sentence) from error
    if isinstance(document, dict) and document.get("format") != FORMAT:
        raise Refusal(1, "bundle_format_unknown", f"This is not a bundle of the format {FORMAT}.")
    try:
        return _bundle(document)
    except ValueError as error:
        raise Refusal(1, "bundle_malformed", f"The bundle has not the form of {FORMAT}.") from error


def _bundle(document: Any) -> Bundle:
    fields = _fields(document, {"format", "decision", "checkpoint", "records", "erasures", "rotations", "consistency"})
    records = tuple(_record(each) for each in _list(fields["records"]))
    erasures = tuple(_record(each, plain=True) for each in _list(fields["erasures"]))
    rotations = tuple(_rotation(each) for each in _list(fields["rotations"]))
    indexes = [[record.index for record in part] for part in (records, erasures, [rotation.record for rotation in rotations])]
    if not records or any(part != sorted(set(part)) for part in indexes):
        raise ValueError("records are to stand in order, each once")
    checkpoint, consistency = Checkpoint.parse(_text(fields["checkpoint"])), fields["consistency"]
    return Bundle(
        _name(fields["decision"]), checkpoint, records, erasures, rotations, None if consistency is None else _consistency(consistency)
    )


def _record(value: Any, *, plain: bool = False) -> Record:
    fields = _fields(value, {"index", "leaf", "proof"}, frozenset() if plain else frozenset({"opened", "erased"}))
    leaf, opened = unbase64(_text(fields["leaf"])), fields.get("opened", {})
    if not isinstance(opened, dict) or not all(map(_NAME.fullmatch, opened)) or len(leaf) > MAX_LEAF:
        raise ValueError("not a record")
    erased = _erased(fields["erased"]) if "erased" in fields else None
    proof = Proof.parse(_text(fields["proof"]))
    return Record(_number(fields["index"]), leaf, proof, {name: _opened(each) for name, each in opened.items()}, erased)


def _opened(value: Any) -> Opened:
    fields = _fields(value, {"salt", "value"})
    return Opened(unbase64(_text(fields["salt"]), 32), _text(fields["value"]))


def _erased(value: Any) -> Erased:
    fields = _fields(value, {"key_id", "sealed", "erasure"})
    erasure = fields["erasure"]
    return Erased(_name(fields["key_id"]), unbase64(_text(fields["sealed"])), None if erasure is None else _number(erasure))


def _rotation(value: Any) -> Rotation:
    fields = dict(_fields(value, {"index", "leaf", "proof", "handover"}))
    handover = fields.pop("handover")
    record = _record(fields, plain=True)
    if handover is None:
        return Rotation(record, None)
    proof = Proof.parse(_text(handover))
    return Rotation(record, (proof, Checkpoint.parse(proof.note)))


def _consistency(value: Any) -> Consistency:
    fields = _fields(value, {"old", "new", "hashes"})
    hashes = tuple(unbase64(_text(each), 32) for each in _list(fields["hashes"]))
    return Consistency(_number(fields["old"]), _number(fields["new"]), hashes)


def _fields(value: Any, wanted: set[str], may: frozenset[str] = frozenset()) -> dict[str, Any]:
    if not isinstance(value, dict) or not wanted <= value.keys() <= wanted | may:
        raise ValueError("other keys than there are to be")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("not a name")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError("not a number")
    return value
