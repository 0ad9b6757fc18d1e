"""Decisions in a test's own process."""
