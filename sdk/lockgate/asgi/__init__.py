"""Decisions for Starlette and FastAPI applications: before a request reaches the application, or before an endpoint."""

from lockgate.asgi.middleware import DecisionMiddleware, HeldRequest
from lockgate.asgi.paths import Rule
from lockgate.asgi.reporting import Reporter
from lockgate.asgi.requiring import decision_of, requires_decision
from lockgate.asgi.subjects import AS_SERVICE

__all__ = ["AS_SERVICE", "DecisionMiddleware", "HeldRequest", "Reporter", "Rule", "decision_of", "requires_decision"]
