"""Workflow engines behind HTTP APIs. What they share is here; each kind is a table of requests, states and what its ids mean."""
