"""The `http` kind of destination: `Config` and `build`, as the adapter table wants them."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module

from adapters.http_upstream.balancer import Balancer, Balancing, ByHash, LeastBusy
from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.client import ClientOptions, HttpClient
from adapters.http_upstream.config import Config
from adapters.http_upstream.destination import HttpDestination
from adapters.http_upstream.outliers import OutlierLimits, Outliers
from adapters.http_upstream.retry import RetryBudget, RetryPolicy
from adapters.http_upstream.upstream import Bounds, MakeClient, Upstream, Upstreams
from adapters.websocket_client import WebSocketClient
from router.errors import ConfigError
from router.ports import Clock, Random

__all__ = ["Config", "HttpDestination", "build"]

CLIENTS = {
    "pyreqwest": ("adapters.http_client_pyreqwest", "PyreqwestClient"),
    "aiohttp": ("adapters.http_client_aiohttp", "AiohttpClient"),
}


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> HttpDestination:
    """Opens nothing. Raises ConfigError when the chosen client library is not installed."""
    make = _maker(settings)
    upstreams = [Upstream(one.url, Circuit(settings.circuit.failures, settings.circuit.open), make) for one in settings.upstreams]
    retries = settings.retries
    budget = RetryBudget(retries.budget, retries.floor)
    return HttpDestination(
        name,
        settings,
        Upstreams(upstreams, _balancing(settings), _outliers(settings)),
        RetryPolicy(retries.attempts, frozenset(retries.on), budget, retries.backoff, retries.max_backoff, random),
        budget,
        WebSocketClient(settings.tls, settings.websocket),
        clock,
    )


def _balancing(settings: Config) -> Balancing:
    weights = [one.weight for one in settings.upstreams]
    if settings.balance == "hash":
        return ByHash(weights, [one.url for one in settings.upstreams])
    return LeastBusy(weights) if settings.balance == "least_requests" else Balancer(weights)


def _outliers(settings: Config) -> Outliers | None:
    """None also where there is only one, which is always asked."""
    if settings.outliers is None or len(settings.upstreams) == 1:
        return None
    return Outliers(len(settings.upstreams), OutlierLimits(**settings.outliers.model_dump()))


def _maker(settings: Config) -> MakeClient:
    client = _client_class(settings.client)

    def make(origin: str, bounds: Bounds) -> HttpClient:
        options = ClientOptions(
            origin=origin,
            connect=bounds.connect,
            idle=None if bounds.idle == math.inf else bounds.idle,
            total=None if bounds.total == math.inf else bounds.total,
            keep=settings.keep,
            ca=settings.tls.ca,
            certificate=settings.tls.certificate,
            key=settings.tls.key,
            server_name=settings.tls.server_name,
        )
        return client(options)

    return make


def _client_class(name: str) -> Callable[[ClientOptions], HttpClient]:
    module, attribute = CLIENTS[name]
    try:
        found: Callable[[ClientOptions], HttpClient] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(f"client: {name} is not installed; pip install 'lockgate[{name}]' brings it") from error
    return found
