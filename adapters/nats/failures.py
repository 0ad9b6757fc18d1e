"""The only place where NATS' errors, the library's and the server's, become ours."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from nats import errors

from adapters.messaging.destination import failure
from router.errors import DestinationError

TOO_LARGE = frozenset({10054})  # the message is longer than the stream takes
REFUSED = frozenset({10060, 10073, 10078, 10130, 10052, 10085, 10025})  # another stream's, sealed, wrong options, not this stream's subject
NO_ROOM = frozenset({10077, 10122, 10023, 10047})  # the stream is full and keeps the old, or resources are used up
DENIED = ("authorization", "authentication", "permissions violation", "user authentication")


def translated(error: BaseException, *, sent: bool) -> DestinationError:
    """`sent`: the message may have arrived when this happened."""
    if isinstance(error, DestinationError):
        return error
    if isinstance(error, errors.MaxPayloadError):
        return failure("body_too_large", "the message is longer than the NATS server takes")
    if isinstance(error, errors.BadSubjectError):
        return failure("input_unmapped", "what the input mapping makes of the request is no NATS subject")
    if isinstance(error, errors.BadHeaderError):
        return failure("input_unmapped", "the request has a field that NATS takes for no header")
    if isinstance(error, ssl.SSLError | errors.SecureConnRequiredError | errors.SecureConnFailedError):
        return failure("tls_failed", f"no TLS connection with the NATS server could be made{_why(error)}")
    if any(word in str(error).lower() for word in DENIED):
        return failure("upstream_denied", "the NATS server does not accept our credentials, or they do not suffice for this subject")
    if isinstance(error, TimeoutError):
        return failure("connect_timeout" if not sent else "upstream_timeout", "the NATS server did not answer in time", sent=sent)
    if sent:
        return failure("upstream_reset", "the connection to the NATS server broke before it had answered", sent=True)
    return failure("connect_failed", "no connection to a NATS server could be made")


def refused(told: Mapping[str, Any]) -> DestinationError:
    """Of a JetStream answer's `error`."""
    code, number, said = told.get("code"), told.get("err_code"), str(told.get("description", "no reason"))[:200]
    if number in TOO_LARGE:
        return failure("body_too_large", f"the stream does not take the message: {said}")
    if number in REFUSED or code in (400, 404):
        return failure("upstream_refused", f"JetStream refuses: {said}")
    if number in NO_ROOM or code in (408, 500, 503):
        return failure("upstream_unavailable", f"JetStream cannot take it now: {said}")
    return failure("upstream_protocol", f"JetStream answered with an error that is not known: {said}", sent=True)


def nobody() -> DestinationError:
    """The server's 503: no stream has the subject, no service answers there, or JetStream is not up."""
    return failure("upstream_unavailable", "nobody listens there: no stream has the subject, no service answers it, or JetStream is not up")


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f": {error.verify_message}"
    return ": it does not speak TLS, and nothing was sent" if isinstance(error, errors.SecureConnRequiredError) else ""
