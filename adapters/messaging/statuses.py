"""What an HTTP status other than 2xx means for a message."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from adapters.messaging.destination import failure
from router.errors import DestinationError

LONGEST_WAIT_S = 86_400.0
DENIED = (401, 403, 407)
LATER = (408, 421, 425)


def refused_by(status: int, retry_after: str, now_s: float, who: str) -> DestinationError:
    """`now_s`: seconds since 1970. What comes of 4xx is final, but for those that say "later"."""
    wait = waits(retry_after, now_s)
    if status == 429:
        return failure("upstream_throttled", f"{who} takes no more for now (429)", wait=wait)
    if status in LATER:
        return failure("upstream_unavailable", f"{who} answered {status}", wait=wait)
    if status >= 500:
        return failure("upstream_unavailable", f"{who} answered {status}", sent=True, wait=wait)
    if status in DENIED:
        denied = failure("upstream_denied", f"{who} does not accept our credential ({status})")
        denied.final = True
        return denied
    if 300 <= status < 400:
        return failure("upstream_refused", f"{who} answered {status}, and redirects are not followed")
    return failure("upstream_refused", f"{who} answered {status}")


def waits(retry_after: str, now_s: float) -> float | None:
    """Seconds of a Retry-After (RFC 9110 §10.2.3), which are at most a day; None for nonsense."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(at - now_s, 0.0), LONGEST_WAIT_S)
