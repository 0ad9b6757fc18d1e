"""Health checks go on, whatever becomes of one of them."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.http_upstream.config import HealthConfig
from adapters.http_upstream.health import passes


class Broken:
    """A client library that fails as none has before."""

    async def request(self, *_: Any) -> Any:
        raise ZeroDivisionError

    async def close(self) -> None: ...


async def test_a_check_that_breaks_is_a_failed_check(caplog: pytest.LogCaptureFixture) -> None:
    """It does not end the checking, which would leave an upstream healthy, or ill, for ever."""
    assert not await passes(Broken(), HealthConfig(path="/healthz"))
    assert "a health check failed" in caplog.text
