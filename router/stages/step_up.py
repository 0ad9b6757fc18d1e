"""Whether a caller authenticated well and lately enough for what policy asks (RFC 9470), by the claims of its verified token."""

from __future__ import annotations

from router.decision import Subject
from router.obligations import Params, seconds

NS = 1_000_000_000
LEEWAY_NS = 30 * NS  # an issuer's clock may be ahead of ours


def lacking(subject: Subject, wanted: Params, now_ns: int) -> str | None:
    """What the caller's authentication lacks, as a sentence; None where it suffices. A claim that is missing or has another form says
    nothing in the caller's favour."""
    claims = subject.claims
    if "acr" in wanted and claims.get("acr") not in wanted["acr"]:
        return "A stronger authentication is required."
    methods = claims.get("amr")
    if "amr" in wanted and not (isinstance(methods, list | tuple) and all(each in methods for each in wanted["amr"])):
        return "Authentication by other methods is required."
    if "max_age" in wanted and not _recent(claims.get("auth_time"), int(seconds(wanted["max_age"]) * NS), now_ns):
        return "A more recent authentication is required."
    return None


def challenge(wanted: Params, sentence: str) -> tuple[str, str]:
    """The header field that tells a client how to authenticate."""
    parts = ['realm="lockgate"', 'error="insufficient_user_authentication"', f'error_description="{sentence}"']
    if "acr" in wanted:
        parts.append(f'acr_values="{" ".join(wanted["acr"])}"')
    if "max_age" in wanted:
        parts.append(f'max_age="{int(seconds(wanted["max_age"]))}"')
    return "www-authenticate", "Bearer " + ", ".join(parts)


def _recent(told: object, age_ns: int, now_ns: int) -> bool:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < 1 << 53:
        return False
    at_ns = int(told * NS)
    return now_ns - age_ns <= at_ns <= now_ns + LEEWAY_NS
