"""Encoders, heads, calibration and their training; knows nothing of the router."""
