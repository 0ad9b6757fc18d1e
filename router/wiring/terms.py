"""How long what is held and what is to be delivered may wait, as it is configured."""

from __future__ import annotations

from router.config.evidence import ReviewConfig
from router.delivery.judging import Terms
from router.review.holding import Spans
from router.workspace import Workspace


def spans(settings: ReviewConfig) -> Spans:
    """How long held requests wait, where policy does not say."""
    return Spans(settings.expires, settings.claim, settings.respond)


def delivery_terms(workspace: Workspace) -> dict[str, Terms]:
    """By route, of those whose requests are delivered."""
    routes = ((name, route.delivery) for name, route in workspace.catalog.routes.items() if route.delivery is not None)
    return {name: Terms(each.patience, each.backoff, each.max_backoff, each.order) for name, each in routes}
