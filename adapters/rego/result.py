"""From what a Rego entry point answered to a Verdict. Every engine that evaluates Rego reads its answers here, so that all are equally
strict; the JSON schema is `policies/schemas/result.json`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from router.decision import Effect, Obligation, Reason, Verdict
from router.errors import PolicyError

CODE = re.compile(r"[a-z0-9_.]{1,64}")
SLUG = re.compile(r'"([a-z0-9_.]{1,64})"')
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
DURATION = re.compile(r"[0-9]{1,6}(ms|s|m|h|d)")
MOST = 64  # reasons, obligations and reviewers; more than a person reads
MESSAGE_CHARS = 1000
EFFECTS: Mapping[str, Effect] = {effect.value: effect for effect in Effect}
STRICTNESS = {Effect.ALLOW: 0, Effect.REROUTE: 1, Effect.REVIEW: 2, Effect.DENY: 3}
FIELDS = frozenset(("effect", "reasons", "obligations", "route"))
AT_ADMISSION = frozenset((Effect.ALLOW, Effect.DENY))


def parse_result(
    raw: Any, entry: str, engine: str = "", revision: str = "", digest: str = "", opa_decision_id: str | None = None
) -> Verdict:
    """Raises PolicyError with `policy_malformed` or `obligation_unknown`."""
    if not isinstance(raw, dict) or not raw.keys() <= FIELDS:
        raise _malformed(f"an object with nothing but {', '.join(sorted(FIELDS))}")
    effect = _effect(raw.get("effect"), entry)
    return Verdict(
        effect=effect,
        reasons=tuple([_reason(each) for each in _listed(raw, "reasons")]),
        obligations=tuple([_obligation(each) for each in _listed(raw, "obligations")]),
        reroute=_route(raw.get("route"), effect),
        revision=revision,
        digest=digest,
        engine=engine,
        opa_decision_id=opa_decision_id,
    )


def written(texts: Iterable[str]) -> frozenset[str]:
    """What stands in policies and data as a text that could be a reason's code."""
    return frozenset(SLUG.findall("\n".join(texts)))


def check_codes(verdict: Verdict, known: frozenset[str]) -> None:
    """A reason's code goes into the ledger for ever, so one that was made from the request is refused: it could say who asked. Raises
    PolicyError."""
    if not known.issuperset([reason.code for reason in verdict.reasons]):
        raise PolicyError("Policy gave a reason whose code stands neither in the policies nor in their data.", "policy_malformed")


def stricter(one: Verdict, other: Verdict) -> Verdict:
    """Both verdicts as one: the stricter effect, its reasons first, and what either of them demands."""
    first, second = (one, other) if STRICTNESS[one.effect] >= STRICTNESS[other.effect] else (other, one)
    if first.effect is Effect.REROUTE and second.effect is Effect.REROUTE and first.reroute != second.reroute:
        raise PolicyError("Two policies send the request to different routes.", "policy_malformed")
    return Verdict(
        effect=first.effect,
        reasons=(*first.reasons, *(reason for reason in second.reasons if reason not in first.reasons)),
        obligations=(*first.obligations, *(each for each in second.obligations if each not in first.obligations)),
        reroute=first.reroute,
        revision=first.revision,
        digest=first.digest,
        engine=first.engine,
        opa_decision_id=first.opa_decision_id or second.opa_decision_id,
    )


def package_name(intent: str) -> str:
    """The last part of the package that judges an intent."""
    return re.sub(r"\W", "_", intent)


def _effect(value: Any, entry: str) -> Effect:
    effect = EFFECTS.get(value) if isinstance(value, str) else None
    if effect is None:
        raise _malformed("an effect of allow, deny, review or reroute")
    if entry == "admission" and effect not in AT_ADMISSION:
        raise _malformed("allow or deny at admission, where no intent is known yet")
    return effect


def _route(value: Any, effect: Effect) -> str | None:
    if effect is not Effect.REROUTE:
        if value is not None:
            raise _malformed("a route only where the effect is reroute")
        return None
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise _malformed("the name of a route for the effect reroute")
    return value


def _listed(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key, [])
    if not isinstance(value, list) or len(value) > MOST:
        raise _malformed(f"at most {MOST} {key} in a list")
    return value


def _reason(raw: Any) -> Reason:
    if not isinstance(raw, dict) or not raw.keys() <= {"code", "message"}:
        raise _malformed("reasons of a code and a message")
    code, message = raw.get("code"), raw.get("message", "")
    if not isinstance(code, str) or not CODE.fullmatch(code):
        raise _malformed("reason codes of at most 64 lower-case letters, digits, '_' and '.'")
    if not isinstance(message, str) or len(message) > MESSAGE_CHARS:
        raise _malformed(f"messages of at most {MESSAGE_CHARS} characters")
    return Reason(code, message)


def _obligation(raw: Any) -> Obligation:
    if not isinstance(raw, dict) or not raw.keys() <= {"name", "params"}:
        raise _malformed("obligations of a name and params")
    name, params = raw.get("name"), raw.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise _malformed("obligations of a name and params")
    valid = OBLIGATIONS.get(name)
    if valid is None:
        raise PolicyError(f"Policy asks for '{name[:64]}', which this version cannot do.", "obligation_unknown")
    if not valid(params):
        raise _malformed(f"params of '{name}' as they are described")
    return Obligation(name, params)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST and all(isinstance(item, str) and item for item in value)


def _no_params(params: Mapping[str, Any]) -> bool:
    return not params


def _header_params(params: Mapping[str, Any]) -> bool:
    headers = params.get("headers")
    return params.keys() == {"headers"} and isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())


def _review_params(params: Mapping[str, Any]) -> bool:
    """`reviewers` are roles; `quorum` how many different people must approve; `expires` a duration."""
    quorum, expires = params.get("quorum", 1), params.get("expires", "1h")
    return (
        params.keys() <= {"reviewers", "quorum", "expires"}
        and _texts(params.get("reviewers", []))
        and type(quorum) is int
        and 1 <= quorum <= MOST
        and isinstance(expires, str)
        and DURATION.fullmatch(expires) is not None
    )


def _log_params(params: Mapping[str, Any]) -> bool:
    return params.keys() == {"fields"} and _texts(params["fields"])


OBLIGATIONS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "mask_body": _no_params,
    "add_headers": _header_params,
    "require_review": _review_params,
    "log": _log_params,
}


def _malformed(wanted: str) -> PolicyError:
    return PolicyError(f"A policy result must have {wanted}.", "policy_malformed")
