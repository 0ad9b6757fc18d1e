"""What a server says of a tool, and whether a call fits that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.json_schema import fault_of, misfit

DEFINING = ("name", "description", "inputSchema", "outputSchema")


@dataclass(frozen=True, slots=True)
class Definition:
    """`since`: seconds, monotonic, when the server said so."""

    digest: str
    takes: Mapping[str, Any]
    gives: Mapping[str, Any] | None
    since: float

    def problem(self, mapping: Any) -> str | None:
        """Why no call by this input mapping can fit."""
        fault = fault_of(self.takes) or (fault_of(self.gives) if self.gives is not None else None)
        if fault is not None:
            return f"the tool's schema is none: {fault}"
        if not isinstance(mapping, Mapping):
            return None
        lacking = sorted(set(self.takes.get("required", ())) - set(mapping))
        if lacking:
            return f"the input mapping lacks '{lacking[0]}', which the tool requires"
        if self.takes.get("additionalProperties", True) is False:
            unknown = sorted(set(mapping) - set(self.takes.get("properties", {})))
            if unknown:
                return f"the input mapping has '{unknown[0]}', which the tool does not take"
        return None

    def unfit(self, arguments: Any) -> str | None:
        return misfit(self.takes, arguments)


def definition(tool: Mapping[str, Any], now: float) -> Definition:
    """`tool` as the wire has it."""
    told = {name: tool[name] for name in DEFINING if tool.get(name) is not None}
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Definition(f"sha256:{digest}", tool.get("inputSchema") or {}, tool.get("outputSchema"), now)
