"""Rollouts and versions of the policies, as a running Lockgate's control API has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from router.cli.common import config_option, json_option
from router.cli.control_client import ControlClient, control_url
from router.cli.control_options import key_option, url_option

F = TypeVar("F", bound=Callable[..., Any])
key_needed = key_option("API key that may do this.")
comment_option = click.option("--comment", default="", help="Why; kept with it, under the key of who says it.")


def connected(command: F) -> F:
    for option in (json_option, key_needed, url_option, config_option):
        command = option(command)
    return command


class RolloutClient(ControlClient):
    def all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/v1/policy/rollouts")["rollouts"]
        return found

    def show(self, rollout_id: str) -> dict[str, Any]:
        return self.call("GET", _path(rollout_id))

    def propose(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        return self.send_files("/v1/policy/rollouts", files)

    def approve(self, rollout_id: str, digest: str, comment: str) -> dict[str, Any]:
        return self.call("POST", f"{_path(rollout_id)}/approve", {"digest": digest, "comment": comment})

    def move(self, rollout_id: str, move: str, comment: str) -> dict[str, Any]:
        """`reject`, `withdraw`, `advance` or `rollback`."""
        return self.call("POST", f"{_path(rollout_id)}/{move}", {"comment": comment})

    def versions(self) -> dict[str, Any]:
        return self.call("GET", "/v1/policy/versions")

    def go_back(self, to: str, comment: str) -> dict[str, Any]:
        return self.call("POST", "/v1/policy/rollback", {"to": to, "comment": comment})


def client(config: Path, url: str | None, key: str) -> RolloutClient:
    return RolloutClient(url or control_url(config), key)


def _path(rollout_id: str) -> str:
    return f"/v1/policy/rollouts/{quote(rollout_id, safe='')}"
