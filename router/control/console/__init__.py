"""The console: pages for people over the same services as the control API, made on the server."""

from router.control.console import assets, audit, decisions, deliveries, feedback, health, intents, keys, live, policy, proposals, reviews

PARTS = (assets, live, audit, decisions, reviews, policy, deliveries, health, keys, intents, feedback, proposals)
