"""The policy of the control API: what ships with Lockgate, and what the workspace adds to it."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapters.rego.control import ControlRego
from router.control.judging import Judge
from router.errors import ConfigError
from router.library import CONTROL, place
from router.workspace import Workspace

MOST = 1 << 20


def make_judge(workspace: Workspace) -> Judge:
    """Raises ConfigError with every fault of the workspace's own rules."""
    shipped = place() / CONTROL
    own = _own(workspace)
    policies = {
        f"control/{file.name}": file.read_text(encoding="utf-8")
        for file in sorted(shipped.glob("*.rego"))
        if not file.name.endswith("_test.rego")
    }
    data = yaml.safe_load((shipped / "data.yaml").read_text(encoding="utf-8"))
    return Judge(ControlRego(policies, own, data), plain=not own)


def _own(workspace: Workspace) -> dict[str, str]:
    """Texts by path; tests are left out."""
    told = workspace.config.control.policy
    if told is None:
        return {}
    folder = workspace.path(told)
    try:
        files = [file for file in sorted(folder.rglob("*.rego")) if not file.name.endswith("_test.rego")]
        found = {str(Path(told) / file.relative_to(folder)): _text(file) for file in files}
    except OSError as error:
        raise ConfigError(f"'control.policy': {error.filename} cannot be read: {error.strerror}.") from error
    if not found:
        raise ConfigError(f"'control.policy': the folder '{told}' has no policy in it.")
    return found


def _text(file: Path) -> str:
    raw = file.read_bytes()
    if len(raw) > MOST:
        raise ConfigError(f"{file}:1: The policy has more than {MOST} bytes.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{file}:1: The policy is not UTF-8 text.") from None
