"""A decision for telemetry tests."""

from __future__ import annotations

from router.decision import (
    Classification,
    Decision,
    Effect,
    Level,
    Outcome,
    Reason,
    Request,
    Result,
    Risk,
    Route,
    Signals,
    Status,
    Subject,
    TraceContext,
    Verdict,
)

TRACE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, parent_id="00f067aa0ba902b7")
ROUTED = Outcome(Result.ROUTED, 200, attempts=2, total_ns=5_000_000)


def decision(trace: TraceContext | None = TRACE, reason: str = "access.granted") -> Decision:
    verdict = Verdict(Effect.ALLOW, (Reason(reason, "the role holds"),), engine="embedded")
    request = Request("r1", 1_000_000_000, "gateway", Subject("anna", "user"), "POST", "halden.example", "/ask", trace=trace)
    classification = Classification(
        Status.CLASSIFIED, "cancel_payment", 0.93, 0.9, 0.8, tier="encoder", model_digest="m" * 8, stages_ns=(("embed", 700_000),)
    )
    return Decision(
        id="d1",
        request=request,
        signals=Signals(),
        classification=classification,
        risk=Risk(Level.HIGH, 0.65),
        admission=verdict,
        verdict=verdict,
        route=Route("payments.ask", "payments", "intent"),
        outcome=None,
        decided_ns=1_002_000_000,
        config_digest="c" * 64,
        stages_ns=(("admission", 100_000), ("policy", 200_000)),
    )
