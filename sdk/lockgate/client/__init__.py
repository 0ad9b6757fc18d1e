"""Asks a Lockgate server for decisions, and tells it what became of them.

    with Client("http://127.0.0.1:8082", api_key=key) as lockgate:
        lockgate.require(text="cancel payment 4711", subject=Subject("anna", roles=("clerk",)))

Whatever is not a decision to go ahead is an exception. Nothing here ends in "allowed" because something failed.
"""

from lockgate.client.asking import Question, Subject
from lockgate.client.asynchronous import AsyncClient
from lockgate.client.errors import (
    Abstained,
    AnswerRefused,
    CredentialRefused,
    DecisionUnavailable,
    Denied,
    EvidenceRefused,
    EvidenceUnavailable,
    Held,
    LockgateError,
    NoDecision,
    RateLimited,
    Refusal,
    RequestRefused,
    ReviewEnded,
    ReviewPending,
    ReviewUnavailable,
    Unfulfilled,
)
from lockgate.client.evidence import Event, Receipt
from lockgate.client.synchronous import Client
from lockgate.client.tracing import traceparent
from lockgate.client.values import (
    Candidate,
    Classification,
    Decision,
    Obligation,
    Outcome,
    Reason,
    Review,
    ReviewQuestion,
    Risk,
    Route,
    Verdict,
)

__all__ = [
    "Abstained",
    "AnswerRefused",
    "AsyncClient",
    "Candidate",
    "Classification",
    "Client",
    "CredentialRefused",
    "Decision",
    "DecisionUnavailable",
    "Denied",
    "Event",
    "EvidenceRefused",
    "EvidenceUnavailable",
    "Held",
    "LockgateError",
    "NoDecision",
    "Obligation",
    "Outcome",
    "Question",
    "RateLimited",
    "Reason",
    "Receipt",
    "Refusal",
    "RequestRefused",
    "Review",
    "ReviewEnded",
    "ReviewPending",
    "ReviewQuestion",
    "ReviewUnavailable",
    "Risk",
    "Route",
    "Subject",
    "Unfulfilled",
    "Verdict",
    "traceparent",
]
