"""The demonstration: Halden's four services behind Lockgate, some forty requests, and a trail that verifies."""
