"""From what a Rego entry point answered to a Verdict. Every engine that evaluates Rego reads its answers here, so that all are equally
strict; the JSON schema is `policies/schemas/result.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from router import obligations
from router.decision import Effect, Obligation, Reason, Verdict
from router.errors import PolicyError
from router.ports import Intents

CODE = re.compile(r"[a-z0-9_.]{1,64}")
SLUG = re.compile(r'"([a-z0-9_.]{1,64})"')
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MOST = 64  # reasons and obligations; more than a person reads
MESSAGE_CHARS = 1000
EFFECTS: Mapping[str, Effect] = {effect.value: effect for effect in Effect}
FIELDS = frozenset(("effect", "reasons", "obligations", "route", "status"))
# What a denial may tell its caller: the request as it is cannot be had, for this reason of RFC 9110 and its kin. Never a redirect, nor a
# status that says that we failed where policy decided; 503 is for what policy itself switched off.
STATUSES = frozenset((400, 401, 403, 404, 409, 410, 422, 429, 451, 503))
AT_ADMISSION = frozenset((Effect.ALLOW, Effect.DENY))


def parse_result(
    raw: Any, entry: str, engine: str = "", revision: str = "", digest: str = "", opa_decision_id: str | None = None
) -> Verdict:
    """Raises PolicyError with `policy_malformed`, `obligation_unknown` or `obligation_failed`."""
    if not isinstance(raw, dict) or not raw.keys() <= FIELDS:
        raise _malformed(f"an object with nothing but {', '.join(sorted(FIELDS))}")
    effect = _effect(raw.get("effect"), entry)
    return Verdict(
        effect=effect,
        reasons=tuple([_reason(each) for each in _listed(raw, "reasons")]),
        obligations=tuple([_obligation(each, entry) for each in _listed(raw, "obligations")]),
        reroute=_route(raw.get("route"), effect),
        status=_status(raw.get("status"), effect),
        revision=revision,
        digest=digest,
        engine=engine,
        opa_decision_id=opa_decision_id,
    )


def written(texts: Iterable[str]) -> frozenset[str]:
    """What stands in policies and data as a text that could be a reason's code."""
    return frozenset(SLUG.findall("\n".join(texts)))


def check_codes(verdict: Verdict, known: frozenset[str]) -> None:
    """A reason's code and a tag go into the ledger for ever, so one that was made from the request is refused: it could say who asked.
    Raises PolicyError."""
    if not known.issuperset([reason.code for reason in verdict.reasons]):
        raise PolicyError("Policy gave a reason whose code stands neither in the policies nor in their data.", "policy_malformed")
    if verdict.obligations and not known.issuperset(obligations.tags(verdict.obligations)):
        raise PolicyError("Policy gave a tag that stands neither in the policies nor in their data.", "obligation_failed")


def package_name(intent: str) -> str:
    """The last part of the package that judges an intent."""
    return re.sub(r"\W", "_", intent)


def package_names(intent: Intents, entry: str) -> tuple[str, ...]:
    """Of every intent that is asked about, each once; at admission none is known yet."""
    if intent is None or entry != "decision":
        return ()
    return (package_name(intent),) if isinstance(intent, str) else tuple(dict.fromkeys(map(package_name, intent)))


def _effect(value: Any, entry: str) -> Effect:
    effect = EFFECTS.get(value) if isinstance(value, str) else None
    if effect is None:
        raise _malformed("an effect of allow, deny, review or reroute")
    if entry != "decision" and effect not in AT_ADMISSION:
        raise _malformed("allow or deny, wherever it is not about an intent")
    return effect


def _route(value: Any, effect: Effect) -> str | None:
    if effect is not Effect.REROUTE:
        if value is not None:
            raise _malformed("a route only where the effect is reroute")
        return None
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise _malformed("the name of a route for the effect reroute")
    return value


def _status(value: Any, effect: Effect) -> int | None:
    if value is None:
        return None
    if effect is not Effect.DENY or isinstance(value, bool) or not isinstance(value, int | float) or value not in STATUSES:
        raise _malformed(f"a status only where the effect is deny, and then one of {', '.join(map(str, sorted(STATUSES)))}")
    return int(value)


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


def _obligation(raw: Any, entry: str) -> Obligation:
    if not isinstance(raw, dict) or not raw.keys() <= {"name", "params"}:
        raise _malformed("obligations of a name and params")
    name, params = raw.get("name"), raw.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise _malformed("obligations of a name and params")
    return obligations.read(name, params, entry)


def _malformed(wanted: str) -> PolicyError:
    return PolicyError(f"A policy result must have {wanted}.", "policy_malformed")
