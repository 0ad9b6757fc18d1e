"""What holds for every test."""

from hypothesis import HealthCheck, settings

from tests.postgres_server import postgres
from tests.redis_server import redis_server

__all__ = ["postgres", "redis_server"]

# How long an example takes says something of the machine and nothing of the code: no test fails by the clock.
settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")
