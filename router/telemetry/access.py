"""One log line a request, where it is wanted. Nothing personal: no path, query, subject, address or text."""

from __future__ import annotations

import logging

from router.decision import Decision, Outcome
from router.obligations import tags
from router.telemetry import names
from router.telemetry.logs import FIELDS

log = logging.getLogger("lockgate.access")
NO_ROUTE = "-"


def log_request(decision: Decision, outcome: Outcome | None) -> None:
    """`outcome` is None where the caller only asked for the decision."""
    route = decision.route.name if decision.route is not None else NO_ROUTE
    method, status, result = names.method(decision.request.method), status_of(outcome), result_of(outcome)
    ms = duration_ns(decision, outcome) / 1e6
    fields: dict[str, str | int | float] = {
        names.DECISION_ID: decision.id,
        names.HTTP_METHOD: method,
        names.ROUTE: route,
        names.HTTP_STATUS: status,
        names.RESULT: result,
        names.DURATION_MS: round(ms, 3),
    }
    if found := tags((*decision.admission.obligations, *decision.verdict.obligations)):
        fields[names.TAGS] = ",".join(found)
    log.info("%s %s %d %s %.1f ms decision=%s", method, route, status, result, ms, decision.id, extra={FIELDS: fields})


def log_refusal(code: str, status: int) -> None:
    """Of a request that nothing was decided about."""
    log.info("refused %d %s", status, code, extra={FIELDS: {names.HTTP_STATUS: status, names.REASON: code}})


def status_of(outcome: Outcome | None) -> int:
    return outcome.status if outcome is not None else 200


def result_of(outcome: Outcome | None) -> str:
    return outcome.result.value if outcome is not None else names.RESULT_DECIDED


def duration_ns(decision: Decision, outcome: Outcome | None) -> int:
    """Until the end of the response, or until the decision where that was the end."""
    return (outcome.total_ns if outcome is not None else 0) or max(0, decision.decided_ns - decision.request.received_ns)
