"""A small workspace without a classifier: every request is decided by a rule, so a test is about the gateway and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NAMES = ("gateway", "decide", "control", "upstream", "sockets", "nobody", "events")
Settings = Mapping[str, Any]

LIMITS = {"body": "1MiB", "header_bytes": "8KiB", "header_count": 40, "header_timeout": "1s", "body_timeout": "1s"}
QUICK = {"retries": {"attempts": 1}, "circuit": {"failures": 1000, "open": "100ms"}, "concurrency": 1000}


def configuration(ports: Mapping[str, int], state: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "state": str(state),
        "gateway": {
            "listen": f"127.0.0.1:{ports['gateway']}",
            "limits": {
                "body": "1MiB",
                "view": "64KiB",
                "header_timeout": "1s",
                "body_timeout": "1s",
                "header_bytes": "8KiB",
                "header_count": 40,
            },
            "forward_headers": ["content-type", "user-agent"],
        },
        "decide": {"listen": f"127.0.0.1:{ports['decide']}"},
        "control": {"listen": f"127.0.0.1:{ports['control']}"},
        "audit": {"origin": "yard.example/ledger", "checkpoint": {"every": "1s", "records": 200}},
    }


def catalog(ports: Mapping[str, int]) -> dict[str, Any]:
    service = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{ports['upstream']}"}], **QUICK}
    chats = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{ports['sockets']}"}], **QUICK}
    nobody = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{ports['nobody']}"}], **QUICK}
    return {
        "version": 1,
        "name": "yard",
        "destinations": {"service": service, "chats": chats, "nobody": nobody},
        "routes": {
            "plain": {"destination": "service"},
            "streamed": {"destination": "service", "stream": True},
            "chat": {"destination": "chats", "websocket": True},
            "once": {"destination": "service", "deduplicates": True},
            "lonely": {"destination": "nobody"},
            "secret": {"destination": "chats", "websocket": True},
        },
        "intents": {
            "look": {"description": "Looks at an item.", "risk": "low", "route": "plain"},
            "pay": {"description": "Pays for an item.", "risk": "high", "route": "plain"},
        },
        "rules": [
            {"name": "upload", "match": {"path": "/upload/{rest...}"}, "no_intent": True, "route": "streamed"},
            {"name": "lonely", "match": {"path": "/lonely/{rest...}"}, "no_intent": True, "route": "lonely"},
            {"name": "chat", "match": {"path": "/chat/{rest...}"}, "no_intent": True, "route": "chat"},
            {"name": "secret", "match": {"path": "/secret/{rest...}"}, "no_intent": True, "route": "secret"},
            {"name": "look", "match": {"method": "GET", "path": "/items/{id}"}, "intent": "look"},
            {"name": "pay", "match": {"method": "POST", "path": "/pay/{id}"}, "intent": "pay"},
            {"name": "pay-later", "match": {"method": "POST", "path": "/later/{id}"}, "intent": "pay"},
            {"name": "pay-once", "match": {"method": "POST", "path": "/once/{id}"}, "intent": "pay", "route": "once"},
            *({"name": each, "match": {"path": f"/{each}/{{rest...}}"}, "no_intent": True, "route": "plain"} for each in BEHAVIOURS),
        ],
    }


BEHAVIOURS = ("echo", "forge", "hold", "dawdle", "events", "download", "vanish", "babble", "deaf", "nothing")

GRANTS = {
    "intents": {},
    "risks": {"low": {"employee": ["*"]}, "high": {"employee": ["*"]}},
    "routes": {name: {"employee": ["*"]} for name in ("plain", "streamed", "chat", "lonely")},
    "anonymous": False,
}


def policy_data() -> dict[str, Any]:
    shipped: dict[str, Any] = yaml.safe_load((ROOT / "policies/data.yaml").read_text())
    config = shipped["lockgate"]["config"]
    config["access"] = GRANTS
    config["request"]["large_bodies"] = ["upload"]
    config["signals"]["uninspected_routes"] = ["streamed"]
    return shipped


@dataclass(frozen=True, slots=True)
class Yard:
    """`state` is apart from the folder, so that it may lie on another file system."""

    folder: Path
    state: Path
    ports: Mapping[str, int]

    @property
    def config(self) -> Path:
        return self.folder / "lockgate.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "policies/data.yaml"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.sqlite"

    def write(self, **changes: Settings) -> None:
        """`changes` are merged into the configuration."""
        shutil.copytree(
            ROOT / "policies", self.folder / "policies", ignore=shutil.ignore_patterns("*_test.rego", "schemas", "library", "control")
        )
        save(self.config, merged(configuration(self.ports, self.state), changes))
        save(self.folder / "catalog.yaml", catalog(self.ports))
        save(self.data, policy_data())

    def move(self, state: Path) -> None:
        """From the next start on the state is there."""
        save(self.config, load(self.config) | {"state": str(state)})


def save(path: Path, document: Any) -> None:
    """In one step, as careful editors do."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(yaml.safe_dump(document, sort_keys=False))
    beside.replace(path)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {**base}
    for name, value in changes.items():
        both[name] = merged(both[name], value) if isinstance(value, Mapping) and isinstance(both.get(name), Mapping) else value
    return both
