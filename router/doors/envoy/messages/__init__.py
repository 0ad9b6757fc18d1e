"""Envoy's messages, as Python; made by `compile.sh`."""
