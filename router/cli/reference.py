"""The configuration reference in Markdown, made from the JSON Schemas: a heading for every setting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

Schema = Mapping[str, Any]
NOTHING = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """`condition` is the adapter under which the setting exists, or nothing."""

    path: str
    kind: str
    description: str
    default: Any = NOTHING
    condition: str = ""


def reference(config: Schema, catalog: Schema) -> str:
    head = files("router.cli").joinpath("reference.md").read_text(encoding="utf-8")
    parts = [head, _file("lockgate.yaml", config), _file("catalog.yaml", catalog)]
    return "\n".join(parts)


def settings(schema: Schema) -> Iterator[Setting]:
    yield from _block(schema, schema.get("$defs", {}), "", "")


def _file(name: str, schema: Schema) -> str:
    lines = [f"## {name}", "", schema.get("description", ""), ""]
    for setting in settings(schema):
        lines += _section(setting)
    return "\n".join(lines)


def _section(setting: Setting) -> list[str]:
    condition = f" (`adapter: {setting.condition}`)" if setting.condition else ""
    default = f"Default: {_written(setting.default)}."
    if setting.default is NOTHING:
        default = "Must be set."
    elif setting.default == {}:
        default = "May be left out."
    body = f"{setting.description}\n\n" if setting.description else ""
    return [f"### `{setting.path}`{condition}", "", f"{body}{setting.kind[:1].upper()}{setting.kind[1:]}. {default}", ""]


def _written(value: Any) -> str:
    if value in ([], ""):
        return "empty"
    return f"`{json.dumps(value, ensure_ascii=False)}`" if isinstance(value, list | dict) or value is None else f"`{_scalar(value)}`"


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _block(schema: Schema, defs: Mapping[str, Schema], prefix: str, condition: str) -> Iterator[Setting]:
    required = schema.get("required", [])
    for key, part in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] != "adapter"):
        path = prefix + key
        default = NOTHING if key in required else part.get("default", {})
        blocks = list(_blocks(part, defs))
        if blocks and isinstance(default, dict) and "adapter" not in default:
            default = {}  # what is in it has headings of its own
        described = part.get("description") or _resolve(part, defs).get("description", "")
        yield Setting(path, _kind(part, defs), described, default, condition)
        for suffix, block in blocks:
            adapter = block.get("properties", {}).get("adapter", {}).get("const", condition)
            yield from _block(block, defs, f"{path}{suffix}.", adapter)


def _blocks(part: Schema, defs: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """The blocks of settings inside a setting, with what a path to them is called."""
    part = _resolve(part, defs)
    if "properties" in part:
        yield "", part
    for choice in part.get("anyOf", part.get("oneOf", ())):
        if "$ref" in choice:
            yield from _blocks(choice, defs)
    if isinstance(part.get("items"), dict):
        yield from ((f"[]{suffix}", block) for suffix, block in _blocks(part["items"], defs))
    if (value := _mapped(part)) is not None:
        yield from ((f".NAME{suffix}", block) for suffix, block in _blocks(value, defs))


def _mapped(part: Schema) -> Schema | None:
    """The schema of a mapping's values."""
    for value in (part.get("additionalProperties"), *part.get("patternProperties", {}).values()):
        if isinstance(value, dict):
            return value
    return None


def _resolve(part: Schema, defs: Mapping[str, Schema]) -> Schema:
    return defs[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def _kind(part: Schema, defs: Mapping[str, Schema]) -> str:
    part = _resolve(part, defs)
    if "x-lockgate-kind" in part:
        return str(part["x-lockgate-kind"])
    if "const" in part:
        return f"`{_scalar(part['const'])}`"
    if "enum" in part:
        return _either([f"`{choice}`" for choice in part["enum"]])
    if "anyOf" in part or "oneOf" in part:
        kinds = [_kind(choice, defs) for choice in part.get("anyOf", part.get("oneOf"))]
        return _either(list(dict.fromkeys(kinds)))
    return _simple(part, defs)


def _simple(part: Schema, defs: Mapping[str, Schema]) -> str:
    match part.get("type"):
        case "string":
            examples = [f"`{example}`" for example in part.get("examples", ())]
            return f"text such as {_either(examples)}" if examples else "text"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _bounds(part)
        case "array":
            return f"list of {_kind(part['items'], defs)}"
        case "object" if (value := _mapped(part)) is not None:
            return f"mapping of names to {_kind(value, defs)}"
        case "object" if part.get("title", "") == "" and "properties" in part:
            return f"`{{{', '.join(f'{key}: …' for key in part['properties'])}}}`"
        case "null":
            return "`null`"
    return "block"


def _bounds(part: Schema) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    return f", at least {low:g}" if low is not None else ""


def _either(kinds: list[str]) -> str:
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else "".join(kinds)
