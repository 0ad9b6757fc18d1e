"""The console: pages for people over the same services as the control API, made on the server."""

from router.control.console import (
    assets,
    audit,
    decisions,
    deliveries,
    drift,
    feedback,
    health,
    intents,
    keys,
    labels,
    live,
    modifying,
    policy,
    reviewers,
    reviews,
    sessions,
)

PARTS = (
    assets,
    live,
    audit,
    decisions,
    reviews,
    policy,
    deliveries,
    health,
    keys,
    intents,
    feedback,
    labels,
    reviewers,
    sessions,
    modifying,
    drift,
)
