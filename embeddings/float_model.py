"""An encoder as it is published, before it becomes a graph. Needs nothing that only building an encoder needs."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FloatModel:
    """`weights` is a safetensors file, `tokenizer` a tokenizer.json, `config` what config.json says."""

    weights: bytes
    tokenizer: bytes
    config: dict[str, object]


def plain_tokenizer(original: bytes) -> bytes:
    """The same tokenizer without its fixed padding to 128 (ten times the cost for a short text) and its truncation."""
    settings = json.loads(original)
    settings["padding"] = None
    settings["truncation"] = None
    return json.dumps(settings, ensure_ascii=False, separators=(",", ":")).encode()
