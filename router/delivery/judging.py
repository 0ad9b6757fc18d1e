"""What an attempt came to: done, to be tried again and when, or of no use to try again. Decides only."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from router.ports import Delivery, Headers, Random
from router.quick import quickly_made

NS = 1_000_000_000
AGAIN = frozenset((408, 425, 429))
EXPIRED = "delivery_expired"
NEVER_HELD = "review_never_held"
UNHOLDABLE = frozenset(("subject_erased", "review_conflict", "content_changed"))  # of no use to try again
HOLD_BACKOFF_S, HOLD_MAX_S = 1.0, 60.0  # reviewers wait for it, and the store is ours


@dataclass(frozen=True, slots=True)
class Terms:
    """Of a route's deliveries, in seconds: how long they are tried, and the waits between attempts."""

    patience_s: float = 3 * 86400.0
    backoff_s: float = 5.0
    max_backoff_s: float = 3600.0
    order: str = ""  # what deliveries must have in common to go one after the other: subject, tenant, route


@quickly_made
@dataclass(frozen=True, slots=True)
class Attempt:
    """`reason` is empty for what is done. `final`: another attempt would come to the same. `wait_s`: what the other side asked for."""

    status: int
    reason: str = ""
    final: bool = False
    wait_s: float | None = None


def judged(status: int, headers: Headers, now_s: float) -> Attempt:
    """Of an answer. Only a success is one: a redirect led nowhere."""
    if 200 <= status < 300:
        return Attempt(status)
    if status == 410:
        return Attempt(status, reason="delivery_gone", final=True)
    if status in AGAIN or status >= 500:
        return Attempt(status, f"status_{status}", wait_s=_asked(headers, now_s))
    return Attempt(status, reason="delivery_refused", final=True)


def next_due_ns(delivery: Delivery, attempt: Attempt, terms: Terms, random: Random, now_ns: int) -> int | None:
    """When to try again; None when it is given up. Waits double, up to a bound; chance takes up to half of one away, so that what failed
    together does not come back together."""
    if attempt.final:
        return None
    wait = min(terms.max_backoff_s, terms.backoff_s * 2.0 ** min(delivery.attempts, 62))
    wait *= 1.0 - random.random() / 2
    due_ns = now_ns + int(max(wait, attempt.wait_s or 0.0) * NS)
    return due_ns if due_ns <= delivery.until_ns else None


def next_hold_ns(delivery: Delivery, code: str, random: Random, now_ns: int) -> int | None:
    """When to try again to put a request before reviewers, which failed by `code`; the last time when nobody could decide any more. None
    when it is given up."""
    if code in UNHOLDABLE or now_ns >= delivery.until_ns:
        return None
    wait = min(HOLD_MAX_S, HOLD_BACKOFF_S * 2.0 ** min(delivery.attempts, 62)) * (1.0 - random.random() / 2)
    return min(now_ns + int(wait * NS), delivery.until_ns)


def _asked(headers: Headers, now_s: float) -> float | None:
    """Seconds from `Retry-After` (RFC 9110 §10.2.3); None when absent or unreadable."""
    text = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at: float = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - now_s)
