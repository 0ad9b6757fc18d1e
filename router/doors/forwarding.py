"""What goes on to the upstream: the caller's request without what belongs to one hop or to us, plus what we decided."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from router.decision import Decision, Subject, TraceContext
from router.doors.dates import date_field
from router.doors.head import Head, connection_options
from router.ports import Headers

# RFC 9110 §7.6.1, and the fields that this hop sets itself.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Without a body a length tells nothing. A 204 may have none, and a 304 need not (RFC 9110 §8.6); uvicorn would wait for as many bytes.
BODILESS = frozenset((204, 304))
_OURS = HOP_BY_HOP | {b"host", b"content-length", b"expect", b"traceparent", b"tracestate", b"forwarded", b"x-real-ip"}
_CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
_WEBSOCKET = frozenset(
    (b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-accept", b"sec-websocket-protocol")
)
_CACHED_CHARS = 256  # names, roles and tenants come again and again; what may be longer is never kept


def request_headers(head: Head, decision: Decision, *, trusted_peer: bool, idempotency_key: str | None, websocket: bool = False) -> Headers:
    """Header fields for the upstream. The credential that was shown to us is ours and stays here."""
    dropped = _OURS | _CREDENTIALS | (_WEBSOCKET if websocket else frozenset())
    headers = [(name, value) for name, value in head.headers if name not in dropped and not name.startswith(b"x-forwarded-")]
    headers += _forwarded(head, trusted_peer)
    headers += decision_headers(decision)
    headers += _trace_headers(head.trace)
    if idempotency_key is not None and b"idempotency-key" not in head.fields:
        headers.append((b"idempotency-key", _field(idempotency_key)))
    return headers


def response_headers(upstream: Headers, decision: Decision, status: int) -> Headers:
    """Header fields for the caller; an upstream cannot speak in our name."""
    dropped = HOP_BY_HOP | connection_options(upstream)
    if status in BODILESS:
        dropped |= {b"content-length"}
    headers = [(name, value) for name, value in upstream if name.lower() not in dropped and not name.lower().startswith(b"x-lockgate-")]
    headers.append((b"x-lockgate-decision-id", decision.id.encode()))
    if not any(name.lower() == b"date" for name, _ in upstream):
        headers.append((b"date", date_field()))
    return headers


def decision_headers(decision: Decision) -> Headers:
    """What was decided, for the upstream to read: it may trust these where it accepts connections from Lockgate only."""
    headers = [(b"x-lockgate-decision-id", decision.id.encode()), (b"x-lockgate-risk", decision.risk.level.encode())]
    classification = decision.classification
    if classification.intent is not None:
        headers.append((b"x-lockgate-intent", classification.intent.encode()))
    if classification.confidence is not None:
        headers.append((b"x-lockgate-confidence", b"%.4f" % classification.confidence))
    if decision.route is not None:
        headers.append((b"x-lockgate-route", decision.route.name.encode()))
        if decision.route.split:  # behind Envoy it is Envoy that follows it
            headers.append((b"x-lockgate-destination", decision.route.destination.encode()))
    return headers + _subject_headers(decision.request.subject)


def _subject_headers(subject: Subject) -> Headers:
    headers = [(b"x-lockgate-subject", _field(subject.id)), (b"x-lockgate-subject-type", _field(subject.type))]
    if subject.roles:
        headers.append((b"x-lockgate-roles", b",".join(_field(role) for role in subject.roles)))
    if subject.tenant is not None:
        headers.append((b"x-lockgate-tenant", _field(subject.tenant)))
    return headers


def _field(text: str) -> bytes:
    """Percent-encoded where it is more than plain printable ASCII, so that nothing can break out of its field or list."""
    return _cached_field(text) if len(text) <= _CACHED_CHARS else _quoted(text)


def _quoted(text: str) -> bytes:
    return quote(text, safe="!#$&'*+-.^_`|~@:/ ", errors="surrogatepass").encode("ascii")


_cached_field = lru_cache(maxsize=4096)(_quoted)


def _forwarded(head: Head, trusted_peer: bool) -> Headers:
    """Our own hop is appended to what a trusted proxy says; what anybody else says is dropped."""
    kept = dict(head.headers) if trusted_peer else {}
    chain = [value for name, value in head.headers if name == b"x-forwarded-for"] if trusted_peer else []
    chain.append(head.peer.encode("latin-1"))
    return [
        (b"x-forwarded-for", b", ".join(chain)),
        (b"x-forwarded-proto", kept.get(b"x-forwarded-proto", head.scheme.encode())),
        (b"x-forwarded-host", kept.get(b"x-forwarded-host", head.host.encode("latin-1"))),
    ]


def _trace_headers(trace: TraceContext) -> Headers:
    headers = [(b"traceparent", b"00-%s-%s-%s" % (trace.trace_id.encode(), trace.span_id.encode(), b"01" if trace.sampled else b"00"))]
    if trace.state:
        headers.append((b"tracestate", trace.state.encode("latin-1")))
    return headers
