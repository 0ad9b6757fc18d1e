"""The demonstration: Halden's three services behind Lockgate, some forty requests, and a trail that verifies."""
