"""One root, a subclass per boundary, a stable `code`. `str(error)` is one sentence for a person."""

from __future__ import annotations


class LockgateError(Exception):
    """`unsettled`: what failed may have been done all the same. `untouched`: whoever was to do it was never asked."""

    code = "internal"
    unsettled: bool = False
    untouched: bool = False

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class ConfigError(LockgateError):
    """The configuration cannot be used. `faults` are `file:line: sentence` strings, at least one."""

    code = "config_invalid"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class UnpreparedError(ConfigError):
    """Nobody could say whether the configuration can be served: nothing is known to be wrong with it."""


class BundleError(ConfigError):
    """A bundle of policies that is not used; `code` says why."""

    code = "bundle_unreadable"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class SecretError(ConfigError):
    """A secret that a vault holds could not be had."""

    code = "secret_unavailable"


class RefusedError(LockgateError):
    """A request that is refused before it is classified; `status` is the HTTP status that tells the caller, `fields` further header fields
    of the answer."""

    code = "refused"

    def __init__(
        self, message: str, code: str, status: int, retry_after: int | None = None, fields: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message, code)
        self.status = status
        self.retry_after = retry_after
        self.fields = fields


class IdentityError(RefusedError):
    """The caller could not be authenticated."""

    def __init__(self, message: str, code: str = "unauthenticated", status: int = 401) -> None:
        super().__init__(message, code, status)


class ClassifierError(LockgateError):
    code = "classifier_unavailable"


class PolicyError(LockgateError):
    """Policy gave no usable answer; the pipeline turns it into a deny with this code."""

    code = "policy_error"


EVENT_KNOWN = "event_known"
"""Of an AuditError: nothing failed, but another record decided the same event."""


class AuditError(LockgateError):
    """A record could not be made durable; nothing may be dispatched."""

    code = "audit_unavailable"


class ReviewError(LockgateError):
    code = "review_store_unavailable"


class DestinationError(LockgateError):
    """An upstream gave no usable response. `status` is what the caller is told (502, 503, 504); `sent` says whether any byte of
    the request may have reached it; `attempts` how often it was tried; `wait` the seconds after which the upstream asked to be tried
    again; `final` that it never need be: the same request gets the same answer; `untold` that it may have been done, whatever the code
    says."""

    code = "upstream_error"
    wait: float | None = None
    final: bool = False
    untold: bool = False

    def __init__(self, message: str, code: str, status: int = 502, *, sent: bool = False, attempts: int = 1, upstream: str = "") -> None:
        super().__init__(message, code)
        self.status = status
        self.sent = sent
        self.attempts = attempts
        self.upstream = upstream


class StateError(LockgateError):
    """Shared state (limits, keys, cache) did not answer."""

    code = "state_unavailable"
