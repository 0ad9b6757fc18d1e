"""Every obligation that policy may put on a request: what it must say, what it needs, and which of several is the strictest.

An obligation that is not here, or that says something else, makes the decision a denial before it is recorded (`obligation_unknown`,
`obligation_failed`). Where each is fulfilled: before the record `stages.demands`, on the way out `dispatch`, held `review.holding`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from router.decision import Obligation
from router.errors import PolicyError

Params = Mapping[str, Any]
Valid = Callable[[Params], bool]

MOST = 64  # reviewers, fields and others in one list; more than a person reads
MOST_TAGS = 16
MOST_LIMIT = 1_000_000
MOST_BYTES = 1 << 40
TEXT_CHARS = 256
WITH_CHARS = 100
CODE = re.compile(r"[a-z0-9_.]{1,64}")
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
DURATION = re.compile(r"[0-9]{1,6}(ms|s|m|h|d)")
WINDOW = re.compile(r"[1-9][0-9]{0,4}(s|m|h)")
POINTER = re.compile(r"(/([^~/]|~[01])*)+")  # RFC 6901, but for the whole document
ACR = re.compile(r"[!#-\[\]-~]{1,128}")  # what may stand in a quoted text of a header field, without spaces: they separate values
REVIEW_DURATIONS = ("expires", "claim", "respond", "escalate")
REVIEW_ROLES = ("each_of", "escalate_to")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
WITHOUT_INTENT = ("subject", "tenant", "client", "all")
KEYS = (*WITHOUT_INTENT, "intent", "subject_intent", "tenant_intent", "route")
RESERVED = frozenset(("connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"))
FIELD = re.compile("[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """`whole_body`: it can only be fulfilled where all of the body was seen. `at_admission`: before anything is classified. `to_sockets`:
    it can be done to a WebSocket, whose messages nobody reads."""

    valid: Valid
    whole_body: bool = False
    at_admission: bool = False
    to_sockets: bool = True


def read(name: str, params: Params, entry: str = "decision") -> Obligation:
    """Raises PolicyError `obligation_unknown`, or `obligation_failed` for params that are not as described."""
    kind = KINDS.get(name)
    if kind is None:
        raise PolicyError(f"Policy asks for '{name[:64]}', which this version cannot do.", "obligation_unknown")
    if entry == "review":
        raise PolicyError("Policy puts an obligation on what a reviewer does, where there is none to fulfil.", "obligation_failed")
    if entry == "admission" and not (kind.at_admission and _before_the_intent(params)):
        raise PolicyError(f"Policy asks at admission for '{name}', which needs what is known only after it.", "obligation_failed")
    if not kind.valid(params):
        raise PolicyError(f"Policy asks for '{name}' with params that are not as they are described.", "obligation_failed")
    return Obligation(name, params)


def for_sockets(obligations: Iterable[Obligation]) -> None:
    """Raises PolicyError for one that cannot be done to a WebSocket."""
    for each in obligations:
        if not KINDS[each.name].to_sockets:
            raise PolicyError(f"Policy asks for '{each.name}', which cannot be done to a WebSocket.", "obligation_failed")


def named(obligations: Iterable[Obligation], name: str) -> list[Params]:
    """The params of each obligation of that name."""
    return [each.params for each in obligations if each.name == name]


def seconds(duration: str) -> float:
    """Of a text that `DURATION` matches."""
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * SECONDS[unit]


def strictest_review(obligations: Iterable[Obligation]) -> Params:
    """What all `require_review` ask for together: the most people, every role that one of them names, the soonest ends, only reviewers whom
    each would take, and only the liberties that each gives. Raises PolicyError where nobody is left."""
    wanted = named(obligations, "require_review")
    merged: dict[str, Any] = dict(wanted[0]) if wanted else {}
    for each in wanted[1:]:
        for name, choose in REVIEW_CHOICES.items():
            if name in each:
                merged[name] = choose(merged[name], each[name]) if name in merged else each[name]
        if each.get("reviewers"):
            merged["reviewers"] = _common(merged.get("reviewers"), each["reviewers"])
    for name in REVIEW_LIBERTIES:  # what only some of them let a reviewer or the time do, nobody may
        given = [each.get(name) for each in wanted]
        if None in given:
            merged.pop(name, None)
        elif given:
            merged[name] = _granted(given)
    return merged


def response_limit(obligations: Iterable[Obligation]) -> int | None:
    """Bytes of an answer that may reach the caller; None where policy does not say."""
    wanted = named(obligations, "limit_response")
    return min(each["bytes"] for each in wanted) if wanted else None


def tags(obligations: Iterable[Obligation]) -> tuple[str, ...]:
    """Of all `tag` obligations, each once, in order."""
    return tuple(sorted({tag for each in named(obligations, "tag") for tag in each["tags"]}))


def added_headers(obligations: Iterable[Obligation]) -> dict[str, str]:
    """By name in lower case. Raises PolicyError where two obligations set one to different values."""
    added: dict[str, str] = {}
    for each in named(obligations, "add_headers"):
        for name, value in each["headers"].items():
            if added.setdefault(name.lower(), value) != value:
                raise PolicyError(f"Policy sets the header field '{name}' to two values.", "obligation_failed")
    return added


def _sooner(one: str, other: str) -> str:
    return min(one, other, key=seconds)


def _all_of(one: list[str], other: list[str]) -> list[str]:
    return list(dict.fromkeys((*one, *other)))


REVIEW_CHOICES: Mapping[str, Callable[[Any, Any], Any]] = {
    "quorum": max,
    "expires": _sooner,
    "claim": _sooner,
    "respond": _sooner,
    "escalate": _sooner,
    "each_of": _all_of,
    "escalate_to": _all_of,
}
REVIEW_LIBERTIES = ("modify", "reroute", "on_expiry")


def _granted(given: list[Any]) -> Any:
    """Of lists what is in each, of ways to end the strictest."""
    if isinstance(given[0], str):
        return given[0] if len(set(given)) == 1 else "deny"
    return [each for each in given[0] if all(each in other for other in given)]


def _common(one: list[str] | None, other: list[str]) -> list[str]:
    if not one:
        return list(other)
    both = [role for role in one if role in other]
    if not both:
        raise PolicyError("Policy asks for reviews by different people, and nobody may give both.", "obligation_failed")
    return both


def _before_the_intent(params: Params) -> bool:
    return "key" not in params or params["key"] in WITHOUT_INTENT


def _texts(value: Any, most: int = MOST) -> bool:
    return isinstance(value, list) and len(value) <= most and all(isinstance(item, str) and item for item in value)


def _matching(value: Any, pattern: re.Pattern[str], most: int) -> bool:
    """A list of one to `most` texts that match."""
    return isinstance(value, list) and 1 <= len(value) <= most and all(isinstance(item, str) and pattern.fullmatch(item) for item in value)


def _count(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _no_params(params: Params) -> bool:
    return not params


def _header_params(params: Params) -> bool:
    """Names of ours, framing and hop-by-hop fields are not policy's to set."""
    headers = params.get("headers")
    return params.keys() == {"headers"} and isinstance(headers, dict) and all(_header(*each) for each in headers.items())


def _header(name: str, value: Any) -> bool:
    lowered = name.lower()
    return (
        FIELD.fullmatch(lowered) is not None
        and not lowered.startswith("x-lockgate-")
        and lowered not in RESERVED
        and isinstance(value, str)
        and value.isascii()
        and value.isprintable()
    )


def _review_params(params: Params) -> bool:
    """`reviewers` are roles, one of which is needed; `each_of` roles of which each is, by different people; `quorum` how many different
    people must approve; `expires`, `claim`, `respond` and `escalate` durations; `escalate_to` the role of each higher level; `on_expiry`
    what happens when nobody decided; `modify` JSON pointers to what a reviewer may change, `reroute` routes that they may choose."""
    return (
        params.keys() <= {"reviewers", "quorum", *REVIEW_DURATIONS, *REVIEW_ROLES, *REVIEW_LIBERTIES}
        and _texts(params.get("reviewers", []))
        and _count(params.get("quorum", 1), MOST)
        and all(isinstance(params[name], str) and DURATION.fullmatch(params[name]) for name in REVIEW_DURATIONS if name in params)
        and all(_texts(params[name], MOST_TAGS) and len(set(params[name])) == len(params[name]) for name in REVIEW_ROLES if name in params)
        and params.get("on_expiry", "deny") in ("deny", "allow")
        and ("modify" not in params or _matching(params["modify"], POINTER, MOST))
        and ("reroute" not in params or _matching(params["reroute"], NAME, MOST))
    )


def _log_params(params: Params) -> bool:
    return params.keys() == {"fields"} and _texts(params["fields"])


def _redact_params(params: Params) -> bool:
    text = params.get("with", "")
    fields = params.get("fields")
    return (
        params.keys() <= {"fields", "with"}
        and _matching(fields, POINTER, MOST)
        and all(len(field) <= TEXT_CHARS for field in fields or ())
        and isinstance(text, str)
        and len(text) <= WITH_CHARS
    )


def _step_up_params(params: Params) -> bool:
    age = params.get("max_age", "1m")
    return (
        bool(params)
        and params.keys() <= {"acr", "amr", "max_age"}
        and all(_matching(params[name], ACR, MOST_TAGS) for name in ("acr", "amr") if name in params)
        and isinstance(age, str)
        and DURATION.fullmatch(age) is not None
    )


def _rate_params(params: Params) -> bool:
    """`limit` requests in any span of `per`; `name` keeps apart what otherwise looks alike."""
    per, name = params.get("per"), params.get("name", "quota")
    return (
        {"key", "limit", "per"} <= params.keys() <= {"key", "limit", "per", "name"}
        and params["key"] in KEYS
        and _count(params["limit"], MOST_LIMIT)
        and isinstance(per, str)
        and WINDOW.fullmatch(per) is not None
        and isinstance(name, str)
        and CODE.fullmatch(name) is not None
    )


def _mirror_params(params: Params) -> bool:
    """`share` of the requests, in percent."""
    destination = params.get("destination")
    return (
        params.keys() <= {"destination", "share"}
        and isinstance(destination, str)
        and NAME.fullmatch(destination) is not None
        and _count(params.get("share", 100), 100)
    )


def _limit_params(params: Params) -> bool:
    return params.keys() == {"bytes"} and _count(params["bytes"], MOST_BYTES)


def _tag_params(params: Params) -> bool:
    return params.keys() == {"tags"} and _matching(params["tags"], CODE, MOST_TAGS)


KINDS: Mapping[str, Kind] = {
    "mask_body": Kind(_no_params, whole_body=True, to_sockets=False),
    "redact_fields": Kind(_redact_params, whole_body=True, to_sockets=False),
    "add_headers": Kind(_header_params),
    "require_review": Kind(_review_params),
    "require_step_up": Kind(_step_up_params),
    "rate_limit": Kind(_rate_params, at_admission=True),
    "mirror": Kind(_mirror_params, whole_body=True, to_sockets=False),
    "limit_response": Kind(_limit_params, to_sockets=False),
    "tag": Kind(_tag_params, at_admission=True),
    "log": Kind(_log_params),
}
