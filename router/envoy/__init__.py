"""Envoy's configuration, made from a workspace: pure functions from (configuration, catalog, options) to what Envoy reads."""
