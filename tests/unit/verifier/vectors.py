"""The committed vectors, by name."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

from lockgate_verify.cli import holding_document, refusal_document
from lockgate_verify.failure import Refusal
from lockgate_verify.trust import given
from lockgate_verify.verify import verify

FOLDER = Path(__file__).parents[3] / "verifier" / "vectors"
Vector = dict[str, Any]


@cache
def vectors() -> dict[str, Vector]:
    return {vector["name"]: vector for file in sorted(FOLDER.glob("*.json")) for vector in json.loads(file.read_text(encoding="utf-8"))}


def raw_bundle(vector: Vector) -> bytes:
    return b64decode(vector["bundle_base64"]) if "bundle_base64" in vector else str(vector["bundle"]).encode()


def answer(raw: bytes, vector: Vector) -> dict[str, Any]:
    """What the Python verifier says to a bundle, with what the vector gives beside it."""
    policy, checkpoint = (None if vector[name] is None else vector[name].encode() for name in ("policy", "checkpoint"))
    try:
        trusted = given(vector["keys"], policy, checkpoint)
        return holding_document(verify(raw, trusted), trusted)
    except Refusal as refusal:
        return refusal_document(refusal)
