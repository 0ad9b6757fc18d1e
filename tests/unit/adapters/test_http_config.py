"""Settings of an HTTP destination, and what is built from them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.http_destination import Config, build
from adapters.http_upstream.health import Verdict
from router.errors import DestinationError
from router.ports import Destination
from router.system import SystemClock, SystemRandom

ONE: dict[str, Any] = {"upstreams": [{"url": "http://127.0.0.1:9001"}]}


def test_defaults_need_only_an_upstream() -> None:
    """Everything else has a safe default."""
    config = Config.model_validate(ONE)
    assert (config.client, config.retries.attempts, config.timeouts.total, config.concurrency) == ("aiohttp", 2, 30.0, 256)


def test_durations_and_shares_are_read() -> None:
    """Text as in every other setting."""
    config = Config.model_validate(ONE | {"timeouts": {"connect": "250ms", "idle": None}, "retries": {"budget": "10%"}})
    assert (config.timeouts.connect, config.timeouts.idle, config.retries.budget) == (0.25, None, 0.1)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("http://api.example", "http://api.example:80"),
        ("https://api.example/", "https://api.example:443"),
        ("http://[::1]:9001", "http://[::1]:9001"),
        ("HTTP://API.example:81", "http://api.example:81"),
    ],
)
def test_urls_become_origins(given: str, origin: str) -> None:
    """Scheme, host and port, always all three."""
    assert Config.model_validate({"upstreams": [{"url": given}]}).upstreams[0].url == origin


@pytest.mark.parametrize(
    "fault",
    [
        {"upstreams": []},
        {"upstreams": [{"url": "ftp://x"}]},
        {"upstreams": [{"url": "http://x/base"}]},
        {"upstreams": [{"url": "http://user:secret@x"}]},
        {"upstreams": [{"url": "http://x:99999"}]},
        {"upstreams": [{"url": "http://x", "weight": 0}]},
        ONE | {"unknown": 1},
        ONE | {"client": "httpx"},
        ONE | {"timeouts": {"connect": 5}},
        ONE | {"retries": {"on": ["500"]}},
        ONE | {"retries": {"attempts": 0}},
        ONE | {"tls": {"certificate": "a.pem"}},
        ONE | {"health": {"path": "ready"}},
    ],
    ids=str,
)
def test_mistakes_are_refused(fault: dict[str, Any]) -> None:
    """Strict: unknown keys, other units, half a key pair."""
    with pytest.raises(ValidationError):
        Config.model_validate(fault)


async def test_closing_without_opening_is_harmless() -> None:
    """Also after an open that failed."""
    destination: Destination = build(Config.model_validate(ONE), name="x", clock=SystemClock(), random=SystemRandom())
    await destination.close()
    await destination.close()


async def test_ping_asks_nobody() -> None:
    """A destination without checks is usable until a circuit opens."""
    destination = build(Config.model_validate(ONE), name="x", clock=SystemClock(), random=SystemRandom())
    await destination.open()
    await destination.ping()
    destination._upstreams.all[0].healthy = False
    with pytest.raises(DestinationError) as caught:
        await destination.ping()
    assert (caught.value.code, caught.value.status) == ("no_healthy_upstream", 503)
    await destination.close()


def test_health_changes_after_enough_in_a_row() -> None:
    """Two bad ones take out, one good one brings back, single bad ones are forgotten."""
    verdict = Verdict(unhealthy=2, healthy=1)
    seen = [verdict.note(passed) for passed in (True, False, True, False, False, False, True, False)]
    assert seen == [True, True, True, True, False, False, True, True]


@pytest.mark.parametrize(
    "fault",
    [
        {"balance": "hash"},
        {"hash_by": "subject"},
        {"balance": "hash", "hash_by": "header:X-Caps"},
        {"balance": "hash", "hash_by": "client"},
        {"outliers": {"most": "110%"}},
        {"outliers": {"interval": "0s"}},
    ],
)
def test_balancing_that_means_nothing_is_refused(fault: dict[str, Any]) -> None:
    """A hash of nothing, a key that nobody hashes, shares beyond everything."""
    with pytest.raises(ValidationError):
        Config.model_validate(ONE | fault)


@pytest.mark.parametrize(
    ("by", "header"),
    [("subject", "x-lockgate-subject"), ("tenant", "x-lockgate-tenant"), ("path", None), ("header:x-cart", "x-cart")],
)
def test_what_is_hashed_is_a_header_field_or_the_path(by: str, header: str | None) -> None:
    """The gateway sets the first two itself, so that no caller chooses an upstream by them."""
    assert Config.model_validate(ONE | {"balance": "hash", "hash_by": by}).hashed_header == header
