"""Whether the settings of adopted packages are what the packages can read, by the JSON Schema that lies beside each.

Of JSON Schema it knows what those schemas use: `type`, `enum`, `properties`, `required`, `additionalProperties`, `minProperties`, `items`,
`minItems`, `minLength`, `minimum`, `maximum`, `pattern` and the formats `time-zone` and `network`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any
from zoneinfo import available_timezones

import orjson

from router.faults import Document, Fault, Loc, dotted, suggestion
from router.library import package_file, packages
from router.library_joining import FOLDER
from router.library_reference import described

Wrong = tuple[Loc, str]
WITHIN_SIX = IPv6Network("::ffff:0:0/96")
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
CALLED = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


def schema_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(package_file(name).with_name("settings.json").read_bytes())
    return found


def faults_of(policies: Mapping[str, str], data: Mapping[str, Any], documents: Sequence[Document], place: str) -> Iterator[Fault]:
    """Of every package of the library's own text among `policies`; a copy may have settings of its own. `documents` are what `data` was
    read from, `place` where data that is missing would be looked for."""
    config = data.get("lockgate", {}).get("config", {}) if isinstance(data.get("lockgate"), dict) else {}
    for name in packages():
        if f"{FOLDER}/{name}/{name}.rego" not in policies:
            continue
        key = described(name).settings
        if not isinstance(config, dict) or key not in config:
            shown = f"`lockgate policy library {name}` shows some to begin with"
            yield Fault(place, 1, f"The package '{name}' is adopted, and its settings 'lockgate.config.{key}' are missing; {shown}.")
            continue
        for loc, sentence in wrong(schema_of(name), config[key]):
            yield _fault(documents, ("lockgate", "config", key, *loc), sentence, place)


def wrong(schema: Mapping[str, Any], value: Any, loc: Loc = ()) -> Iterator[Wrong]:
    """What of the value is not as the schema says, each with its place."""
    if "enum" in schema:
        if value not in schema["enum"]:
            yield loc, f"must be one of {', '.join(map(str, schema['enum']))}"
        return
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield loc, f"must be {CALLED[kind]}"
    elif isinstance(value, dict):
        yield from _members(schema, value, loc)
    elif isinstance(value, list):
        if len(value) < (least := schema.get("minItems", 0)):
            yield loc, f"must have {least} at least"
        for place, each in enumerate(value):
            yield from wrong(schema.get("items", {}), each, (*loc, place))
    else:
        yield from _plain(schema, value, loc)


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], loc: Loc) -> Iterator[Wrong]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if len(value) < schema.get("minProperties", 0):
        yield loc, f"needs one of {', '.join(known)}"
    for name in schema.get("required", ()):
        if name not in value:
            yield loc, f"needs '{name}'"
    for name, each in value.items():
        if name in known:
            yield from wrong(known[name], each, (*loc, name))
        elif others is False:
            yield (*loc, name), f"is not known here.{suggestion(str(name), known)}"
        elif isinstance(others, dict):
            yield from wrong(others, each, (*loc, name))


def _plain(schema: Mapping[str, Any], value: Any, loc: Loc) -> Iterator[Wrong]:
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield loc, "must not be empty"
        elif "pattern" in schema and not re.search(schema["pattern"], value):
            yield loc, f"is not written as it must be{_said(schema)}"
        elif schema.get("format") == "time-zone" and (zones := available_timezones()) and value not in zones:
            yield loc, f"is no time zone.{suggestion(value, zones)}"
        elif schema.get("format") == "network" and (reason := _no_network(value)):
            yield loc, reason
    elif isinstance(value, int | float):
        if value < schema.get("minimum", value):
            yield loc, f"must be {schema['minimum']} at least"
        elif value > schema.get("maximum", value):
            yield loc, f"must be {schema['maximum']} at most"


def _no_network(text: str) -> str:
    """Nothing where it is one that engines read alike, and that somebody meant."""
    address, slash, length = text.partition("/")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return "is no network, such as 10.1.0.0/16 or 2001:db8::/32"
    if "%" in address:
        return "is no network but an address with a zone, which means nothing to other hosts"
    if not (slash and length.isdecimal() and length.isascii()):
        return f"is no network; with its length it is {network.network_address}/{network.prefixlen}"
    if network.version == 6 and network.subnet_of(WITHIN_SIX):
        return "is of IPv4 within IPv6; write it as a network of IPv4"
    return "" if ip_address(address) == network.network_address else f"has an address within the network; the network is {network}"


def _said(schema: Mapping[str, Any]) -> str:
    return f": {schema['description'].rstrip('.')}" if "description" in schema else ""


def _fault(documents: Sequence[Document], loc: Loc, sentence: str, place: str) -> Fault:
    document = max(documents, key=lambda each: len(each.real(loc)), default=Document(place, {}))
    return document.fault(loc, f"'{dotted(loc)}' {sentence}{'' if sentence.endswith(('.', '?')) else '.'}")
