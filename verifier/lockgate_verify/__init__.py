"""Checks a Lockgate evidence bundle. Imports the standard library and `cryptography`, nothing of Lockgate."""
