"""Webhooks: signed as Standard Webhooks has it, to endpoints that may be anybody's."""
