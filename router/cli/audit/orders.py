"""Who carries out what an officer orders: the running Lockgate, over its control API, or this command while none runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import click

from router.cli.common import config_option
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, trust, url_option

Json = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

key_needed = key_option("API key for a running Lockgate; without it, and without --client-cert, this works on the files of a stopped one.")
authority_option = click.option("--authority", required=True, help="On whose word. May name people: it is sealed.")
case_option = click.option("--case", default="", help="Where it is filed. May name people: it is sealed.")


def ordering(command: F) -> F:
    for option in (key_needed, url_option, config_option):
        command = option(command)
    return command


class Orders(Protocol):
    def erase(self, subject: str, reason: str, authority: str, case: str) -> Json: ...

    def hold(self, on: str, target: str, authority: str, case: str) -> Json: ...

    def release(self, record: int, authority: str, case: str) -> Json: ...

    def holds(self, on: str | None = None, target: str | None = None) -> list[Json]: ...

    def prune(self, authority: str) -> Json: ...

    def sign_index(self) -> Json: ...


def orders(config: Path, url: str | None, key: str) -> Orders:
    if key or trust().certificate is not None:
        return Running(url or control_url(config), key)
    from router.cli.audit.files import Files  # who asks a running Lockgate does not wait for what the files need

    return Files(config)


class Running(ControlClient):
    def erase(self, subject: str, reason: str, authority: str, case: str) -> Json:
        return self.call("POST", "/v1/audit/erasures", {"subject": subject, "reason": reason, "authority": authority, "case": case})

    def hold(self, on: str, target: str, authority: str, case: str) -> Json:
        return self.call("POST", "/v1/audit/holds", {"on": on, "target": target, "authority": authority, "case": case})

    def release(self, record: int, authority: str, case: str) -> Json:
        return self.call("POST", f"/v1/audit/holds/{record}/release", {"authority": authority, "case": case})

    def holds(self, on: str | None = None, target: str | None = None) -> list[Json]:
        wanted = "" if on is None or target is None else f"?{urlencode({'on': on, 'target': target})}"
        return list(self.call("GET", f"/v1/audit/holds{wanted}")["holds"])

    def prune(self, authority: str) -> Json:
        return self.call("POST", "/v1/audit/prunings", {"authority": authority})

    def sign_index(self) -> Json:
        return self.call("POST", "/v1/audit/index", {})
