"""The console: pages for people over the same services as the control API, made on the server."""

from router.control.console import assets, audit, decisions, live

PARTS = (assets, live, audit, decisions)
