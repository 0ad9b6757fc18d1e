"""Temporal: workflows that a decided request starts, signals or updates."""
