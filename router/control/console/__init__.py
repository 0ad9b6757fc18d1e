"""The console: pages for people over the same services as the control API, made on the server."""

from router.control.console import assets, audit, decisions, deliveries, feedback, health, intents, keys, live, modifying, policy, reviews

PARTS = (assets, live, audit, decisions, reviews, modifying, policy, deliveries, health, keys, intents, feedback)
