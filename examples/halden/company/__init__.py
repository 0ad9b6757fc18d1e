"""Halden's work that takes several steps: what the steps are, and who carries them through."""
