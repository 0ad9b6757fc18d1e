"""What holds for every test."""

from hypothesis import HealthCheck, settings

from tests.postgres_server import postgres

__all__ = ["postgres"]

# How long an example takes says something of the machine and nothing of the code: no test fails by the clock.
settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")
