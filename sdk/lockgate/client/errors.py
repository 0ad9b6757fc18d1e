"""What is not a decision to go ahead. `code` is stable; `str(error)` is one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.client.values import Decision, Review


class LockgateError(Exception):
    code = "lockgate_error"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NoDecision(LockgateError):
    """There is no decision. `status` is what the server answered, if it did; `retry_after` seconds, if it said so."""

    def __init__(self, message: str, code: str | None = None, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code)
        self.status = status
        self.retry_after = retry_after


class DecisionUnavailable(NoDecision):
    """The server was not reached, did not answer in time, failed, or gave an answer that is none. Codes: `unreachable`, `timeout`,
    `interrupted`, `malformed`, `server_error`, or the server's own, such as `audit_unavailable`."""

    code = "unreachable"


class RateLimited(NoDecision):
    """Somebody asked too often: this service, or the subject that it asked about."""

    code = "rate_limited"


class CredentialRefused(NoDecision):
    """The server does not take this service's own credential, or it lacks the scope. Asking again does not help."""

    code = "credential_refused"


class RequestRefused(NoDecision):
    """The question is not one that the server takes: a path with two meanings, a body that is too large."""

    code = "request_invalid"


class Refusal(LockgateError):
    """There is a decision, and it is not to go ahead."""

    def __init__(self, decision: Decision, message: str, code: str | None = None) -> None:
        super().__init__(message, code)
        self.decision = decision


class Denied(Refusal):
    code = "denied"


class Held(Refusal):
    """Policy wants a person to decide. With `hold=True` reviewers see it, and `wait` says how it ended."""

    code = "held"


class Abstained(Refusal):
    """It is not clear enough what is asked for."""

    code = "abstained"


class Unfulfilled(Refusal):
    """It may go ahead under obligations that this service did not say it fulfils. `obligations` are their names."""

    code = "obligation_unfulfilled"

    def __init__(self, decision: Decision, obligations: tuple[str, ...]) -> None:
        super().__init__(decision, f"Policy asks for what this service does not do: {', '.join(obligations)}.")
        self.obligations = obligations


class ReviewPending(LockgateError):
    """Nobody decided within the time that was waited. The request is still held."""

    code = "review_pending"

    def __init__(self, review: Review) -> None:
        super().__init__(f"The request is still {review.state}.")
        self.review = review


class ReviewEnded(LockgateError):
    """It was rejected, expired, or ended in another way that lets nothing be done."""

    code = "review_ended"

    def __init__(self, review: Review) -> None:
        super().__init__(f"The held request is {review.state}.")
        self.review = review


class ReviewUnavailable(LockgateError):
    """Where a held request stands cannot be told: no such request, a key without `control:reviews.follow`, or no answer."""

    code = "review_unavailable"

    def __init__(self, message: str, code: str | None = None, *, passes: bool = False) -> None:
        """`passes`: it may be over in a moment."""
        super().__init__(message, code)
        self.passes = passes


class AnswerRefused(LockgateError):
    """What was said to a reviewer's question is not taken: it is not the open one, it was decided about, its time is over, or the text is
    none."""

    code = "answer_refused"


class EvidenceUnavailable(LockgateError):
    """The event may or may not be recorded. Send it again, unchanged: it is recorded once."""

    code = "evidence_unavailable"


class EvidenceRefused(LockgateError):
    """The event will not be recorded as it is."""

    code = "evidence_refused"
