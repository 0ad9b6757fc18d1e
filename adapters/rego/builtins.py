"""The Rego builtins that policies may use: pure functions for which the embedded interpreter was found to answer as OPA does.

`tests/conformance/test_rego_builtins.py` holds every name here to OPA's own engine. What is not listed is refused at load, because a
builtin that is missing or wrong at run time can turn a deny rule off.
"""

from __future__ import annotations

import re
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
    "json.remove": 2,
    "json.unmarshal": 1,
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
    "regex.match": 2,
    "regex.replace": 3,
    "replace": 3,
    "round": 1,
    "sort": 1,
    "split": 2,
    "sprintf": 2,
    "startswith": 2,
    "strings.any_prefix_match": 2,
    "strings.any_suffix_match": 2,
    "strings.reverse": 1,
    "substring": 3,
    "sum": 1,
    "time.clock": 1,
    "time.date": 1,
    "time.weekday": 1,
    "trim": 2,
    "trim_left": 2,
    "trim_prefix": 2,
    "trim_right": 2,
    "trim_space": 1,
    "trim_suffix": 2,
    "type_name": 1,
    "union": 1,
    "walk": 1,
}

REPLAY = "its answer could not be replayed"
LOGGED = "it would write what a person sent into a log"
NETWORK = "a decision asks nobody over the network; put what it needs into data"
LETTERS = "the embedded engine changes some letters beyond ASCII differently; use regex.match with (?i)"
LENIENT = "the embedded engine accepts texts that OPA refuses"

# What authors reach for most, and why it cannot be had.
INSTEAD: Mapping[str, str] = {
    "time.now_ns": f"{REPLAY}; read input.request.time.ns",
    "http.send": NETWORK,
    "net.lookup_ip_addr": NETWORK,
    "opa.runtime": "a decision must not depend on the process that makes it",
    "rand.intn": REPLAY,
    "uuid.rfc4122": REPLAY,
    "print": LOGGED,
    "trace": LOGGED,
    "lower": LETTERS,
    "upper": LETTERS,
    "to_number": LENIENT,
    "time.parse_rfc3339_ns": f"{LENIENT}; input.request.time.ns is a number",
    "semver.compare": "the embedded engine reads versions differently",
    "semver.is_valid": "the embedded engine reads versions differently",
    "json.is_valid": "the embedded engine stops at what is no text, where OPA says no",
    "json.marshal": "the embedded engine escapes less",
    "strings.count": "the embedded engine counts what overlaps, and breaks off at an empty text",
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


# Only what Rust's regex and Go's RE2 read alike: no Perl classes (Unicode in one, ASCII in the other), no sets within sets, no other flags.
_CLASS = r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\[^A-Za-z0-9<>]|\\[tnr]|[^\[\]\\&~-]|-(?!-)|&(?!&)|~(?!~))*\]"
_ATOM = rf"(?:[^\\\[\](){{}}*+?|]|\\[^A-Za-z0-9<>]|\\[tnrAz]|{_CLASS}|\((?:\?:|\?i\)|\?P<[a-z]+>|(?!\?))|\)|\|)"
_TIMES = r"(?:[*+?]\??|\{[0-9]{1,3}(?:,(?:[0-9]{1,3})?)?\})?"
REGEX = re.compile(f"(?:{_ATOM}{_TIMES})*")
PORTABLE = "without \\d, \\w, \\s, \\b and what else engines read in their own way; write [0-9] and the like"
EMPTY_CHOICE = re.compile(r"[{,][,}]")
FORMAT = re.compile(r"(?:[^%]|%[sdv%])*")


def reason_against_text(name: str, text: str | None) -> str | None:
    """Why a call whose first argument is the literal `text` is refused; None as the text where it is not written out."""
    if name == "sprintf" and (text is None or not FORMAT.fullmatch(text)):
        return "The format of 'sprintf' must be written out and have no verbs but %s, %d and %v; the embedded engine prints others wrongly."
    if name == "glob.match" and (text is None or EMPTY_CHOICE.search(text)):
        return "The pattern of 'glob.match' must be written out and have no empty choice such as {a,}, which engines read in their own way."
    if name.startswith("regex.") and (text is None or not REGEX.fullmatch(text)):
        return f"The pattern of '{name}' must be written out, {PORTABLE}."
    return None
