"""Telling people that a held request waits for them: what the channels have in common."""
