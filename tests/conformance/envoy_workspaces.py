"""Workspaces whose Envoy configuration is written in tests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import yaml

from router.config import EnvoyConfig
from router.envoy.options import Options, TlsFiles
from router.settings import Address
from router.workspace import Workspace, parse, read

HALDEN = Path(__file__).parents[2] / "examples" / "halden"
EVERYTHING: Mapping[str, Any] = {
    "adapter": "http",
    "upstreams": [{"url": "http://127.0.0.1:9001", "weight": 3}, {"url": "http://127.0.0.2:9002"}],
    "timeouts": {"connect": "250ms", "idle": "7s", "total": "20s"},
    "retries": {"attempts": 4, "on": ["connect", "reset", "503"], "budget": 0.5, "floor": 2, "backoff": "50ms", "max_backoff": "2s"},
    "circuit": {"failures": 7, "open": "15s"},
    "health": {"path": "/healthz", "interval": "3s", "timeout": "1s", "unhealthy": 3, "healthy": 2},
    "concurrency": 17,
    "keep": "45s",
}
PLAIN: Mapping[str, Any] = {"adapter": "http", "upstreams": [{"url": "http://service.internal:8080"}]}


def workspace(
    folder: Path,
    destinations: Mapping[str, Any] | None = None,
    routes: Mapping[str, Any] | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    **more: Any,
) -> Workspace:
    """`more` is configuration. Without routes there is one to each destination, of its name; without rules one leads to each route."""
    destinations = destinations or {"desk": PLAIN}
    routes = routes or {name: {"destination": name} for name in destinations}
    if rules is None:
        rules = [{"name": name, "match": {"path": f"/{name}/{{rest...}}"}, "no_intent": True, "route": name} for name in routes]
    catalog = {"version": 1, "destinations": dict(destinations), "routes": dict(routes), "rules": list(rules)}
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "policies/decision.rego").write_text("package lockgate.decision\n")
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False))
    (folder / "lockgate.yaml").write_text(yaml.safe_dump({"version": 1, "envoy": {}, **more}, sort_keys=False))
    return parse(read(folder, {}), {})


def halden(folder: Path) -> Workspace:
    """The example company, with a door for Envoy."""
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": []}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HALDEN_")} | {"HALDEN_JWKS": str(jwks)}
    made = parse(read(HALDEN, environment), environment)
    return replace(made, config=made.config.model_copy(update={"envoy": EnvoyConfig()}))


def at(port: int, admin: int, **more: Any) -> Options:
    return Options(listen=Address("127.0.0.1", port), admin=Address("127.0.0.1", admin), **more)


def pem(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(str(folder / "ca.pem"), str(folder / f"{name}.pem"), str(folder / f"{name}.key"))


FILES = PurePath("/etc/lockgate")
