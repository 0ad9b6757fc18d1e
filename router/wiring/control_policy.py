"""The policies of the control API and of proposals: what ships with Lockgate, and what the workspace adds to it."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapters.rego.approvals import ApprovalRego
from adapters.rego.control import ControlRego
from router.config.learning import LearningConfig
from router.control.judging import Judge
from router.errors import ConfigError
from router.library import CONTROL, LEARNING, place
from router.workspace import Workspace

MOST = 1 << 20


def make_judge(workspace: Workspace) -> Judge:
    """Raises ConfigError with every fault of the workspace's own rules."""
    own = _own(workspace, workspace.config.control.policy, "control.policy")
    data = yaml.safe_load((place() / CONTROL / "data.yaml").read_text(encoding="utf-8"))
    return Judge(ControlRego(_shipped(CONTROL), own, data), plain=not own)


def approval_policy(workspace: Workspace) -> ApprovalRego:
    """Who may approve what is learnt. The settings are data to it. Raises ConfigError with every fault of the workspace's own rules."""
    settings = workspace.config.learning or LearningConfig()
    own = _own(workspace, settings.policy, "learning.policy")
    told = {
        "approvers": list(settings.approvers),
        "approval": {name: each.model_dump(mode="json") for name, each in settings.approval.items()},
    }
    return ApprovalRego(_shipped(LEARNING), own, {"lockgate": {"config": {"learning": told}}})


def _shipped(name: str) -> dict[str, str]:
    files = sorted((place() / name).glob("*.rego"))
    return {f"{name}/{file.name}": file.read_text(encoding="utf-8") for file in files if not file.name.endswith("_test.rego")}


def _own(workspace: Workspace, told: str | None, setting: str) -> dict[str, str]:
    """Texts by path; tests are left out."""
    if told is None:
        return {}
    folder = workspace.path(told)
    try:
        files = [file for file in sorted(folder.rglob("*.rego")) if not file.name.endswith("_test.rego")]
        found = {str(Path(told) / file.relative_to(folder)): _text(file) for file in files}
    except OSError as error:
        raise ConfigError(f"'{setting}': {error.filename} cannot be read: {error.strerror}.") from error
    if not found:
        raise ConfigError(f"'{setting}': the folder '{told}' has no policy in it.")
    return found


def _text(file: Path) -> str:
    raw = file.read_bytes()
    if len(raw) > MOST:
        raise ConfigError(f"{file}:1: The policy has more than {MOST} bytes.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{file}:1: The policy is not UTF-8 text.") from None
