"""What Kubernetes' ways of running Envoy have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from router.envoy.destinations import Sending
from router.envoy.options import Options
from router.envoy.values import Json
from router.errors import ConfigError
from router.settings import Address

# What services read and routes are chosen by; where no prefix can be given, these names are taken off what callers send.
OWN_FIELDS = tuple(
    f"x-lockgate-{name}"
    for name in ("confidence", "decision-id", "destination", "intent", "risk", "roles", "route", "subject", "subject-type", "tenant")
)


class Made(NamedTuple):
    """A manifest, and of what in the catalog it was made, as a sentence has it."""

    manifest: Json
    origin: str


def distinct(found: Iterable[Made]) -> list[Json]:
    """Raises ConfigError where two of different origins would be one resource, of which a cluster keeps the last."""
    origins: dict[tuple[str, str], str] = {}
    manifests = []
    for made in found:
        kind, name = made.manifest["kind"], made.manifest["metadata"]["name"]
        if (other := origins.setdefault((kind, name), made.origin)) != made.origin:
            raise ConfigError(
                f"{other[0].upper()}{other[1:]} and {made.origin} would both be the {kind} '{name}' in Kubernetes; rename one of them."
            )
        manifests.append(made.manifest)
    return manifests


def manifest(kind: str, version: str, name: str, spec: Json) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": resource_name(name)}, "spec": spec}


def resource_name(name: str) -> str:
    """Names of the catalog may have underscores, and end in what no resource's may."""
    return name.replace("_", "-").strip("-.")


def duration(span: float) -> str:
    """Of Gateway API (GEP-2257): whole numbers of at most five digits, each with its unit."""
    millis = max(round(span * 1000), 1)
    if millis < 100_000 and millis % 1000:
        return f"{millis}ms"
    seconds, rest = divmod(millis, 1000)
    hours, seconds = divmod(seconds, 3600) if seconds >= 100_000 else (0, seconds)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (seconds, "s"), (rest, "ms")) if count)


def lasting(span: float | None) -> str:
    """None is without end, which has to be said: left out, it is some default."""
    return "0s" if span is None else duration(span)


def quantity(size: int) -> str:
    return f"{size >> 10}Ki" if size % 1024 == 0 else str(size)


def door_address(options: Options) -> Address:
    """Raises ConfigError: in a cluster the door is a service, which balances among its workers."""
    if len(options.lockgate) != 1:
        raise ConfigError("Say with --lockgate once where the door is in the cluster, such as lockgate.lockgate.svc.cluster.local:50051.")
    return options.lockgate[0]


def check_routes(ways: list[Sending]) -> None:
    """Raises ConfigError where a route says more than is written for Kubernetes."""
    for each in ways:
        if each.chosen or each.route.mirror is not None:
            raise ConfigError(f"The route '{each.name}' has a canary or a mirror, which is written for --format bootstrap and filter only.")
        balance, hashed = each.settings.balance, each.settings.hashed_header
        if balance != "round_robin" and len(each.settings.upstreams) > 1:
            raise ConfigError(f"The route '{each.name}' has several upstreams and 'balance: {balance}': name one service for them.")
        if balance == "hash" and hashed is None:
            raise ConfigError(f"The route '{each.name}' is balanced by path, which is written for --format bootstrap and filter only.")


def dropping_none(value: dict[str, Any]) -> Json:
    return {name: each for name, each in value.items() if each is not None}
