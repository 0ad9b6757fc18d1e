"""Destinations that take no HTTP: workflow engines, brokers, tools. What they share: one message from one request, and how it is sent."""
