"""The Rego builtins that policies may use: pure functions for which the embedded interpreter was found to answer as OPA does.

`tests/conformance/test_rego_builtins.py` holds every name here to OPA's own engine. What is not listed is refused at load, because a
builtin that is missing or wrong at run time can turn a deny rule off.
"""

from __future__ import annotations

from collections.abc import Mapping

ARITY: Mapping[str, int] = {
    "abs": 1,
    "array.concat": 2,
    "array.reverse": 1,
    "array.slice": 3,
    "base64.decode": 1,
    "base64.encode": 1,
    "base64.is_valid": 1,
    "base64url.decode": 1,
    "base64url.encode": 1,
    "bits.and": 2,
    "bits.or": 2,
    "ceil": 1,
    "concat": 2,
    "contains": 2,
    "count": 1,
    "endswith": 2,
    "floor": 1,
    "format_int": 2,
    "glob.match": 3,
    "graph.reachable": 2,
    "hex.decode": 1,
    "hex.encode": 1,
    "indexof": 2,
    "intersection": 1,
    "is_array": 1,
    "is_boolean": 1,
    "is_null": 1,
    "is_number": 1,
    "is_object": 1,
    "is_set": 1,
    "is_string": 1,
    "json.filter": 2,
    "json.is_valid": 1,
    "json.marshal": 1,
    "json.remove": 2,
    "json.unmarshal": 1,
    "lower": 1,
    "max": 1,
    "min": 1,
    "net.cidr_contains": 2,
    "numbers.range": 2,
    "object.filter": 2,
    "object.get": 3,
    "object.keys": 1,
    "object.remove": 2,
    "object.subset": 2,
    "object.union": 2,
    "object.union_n": 1,
    "product": 1,
    "regex.find_n": 3,
    "regex.is_valid": 1,
    "regex.match": 2,
    "regex.replace": 3,
    "regex.split": 2,
    "replace": 3,
    "round": 1,
    "semver.compare": 2,
    "semver.is_valid": 1,
    "sort": 1,
    "split": 2,
    "sprintf": 2,
    "startswith": 2,
    "strings.any_prefix_match": 2,
    "strings.any_suffix_match": 2,
    "strings.count": 2,
    "strings.replace_n": 2,
    "strings.reverse": 1,
    "substring": 3,
    "sum": 1,
    "time.add_date": 4,
    "time.clock": 1,
    "time.date": 1,
    "time.parse_duration_ns": 1,
    "time.parse_rfc3339_ns": 1,
    "time.weekday": 1,
    "to_number": 1,
    "trim": 2,
    "trim_left": 2,
    "trim_prefix": 2,
    "trim_right": 2,
    "trim_space": 1,
    "trim_suffix": 2,
    "type_name": 1,
    "union": 1,
    "upper": 1,
    "urlquery.decode": 1,
    "urlquery.encode": 1,
    "walk": 1,
}

# What authors reach for most, and what to do instead.
INSTEAD: Mapping[str, str] = {
    "time.now_ns": "its answer could not be replayed; read input.request.time.ns",
    "http.send": "a decision asks nobody over the network; put what it needs into data",
    "opa.runtime": "a decision must not depend on the process that makes it",
    "rand.intn": "its answer could not be replayed",
    "uuid.rfc4122": "its answer could not be replayed",
    "print": "it would write what a person sent into a log",
    "trace": "it would write what a person sent into a log",
    "net.lookup_ip_addr": "a decision asks nobody over the network",
    "regex.template_match": "the embedded engine answers it wrongly; use regex.match",
}
FAMILIES: Mapping[str, str] = {
    "io": "tokens are verified before policy; read input.subject",
    "crypto": "the embedded engine has no cryptography",
    "graphql": "the embedded engine has no GraphQL",
    "rego": "the embedded engine has no rule metadata",
    "providers": "the embedded engine has no cloud signatures",
}


def reason_against(name: str) -> str | None:
    """Why a call of `name` is refused; None when it may be called."""
    if name in ARITY:
        return None
    family = FAMILIES.get(name.partition(".")[0])
    why = INSTEAD.get(name) or (family if "." in name else None)
    return f"The builtin '{name}' may not be used: {why}." if why else f"There is no function '{name}' that a policy may call."
