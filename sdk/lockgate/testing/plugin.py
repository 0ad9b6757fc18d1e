"""The pytest plugin. In the configuration of pytest:

    lockgate_workspace = "path/to/workspace"

relative to that file; or a session's fixture `lockgate_workspace` of one's own. Nothing of Lockgate is loaded before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lockgate.testing.pipeline import Lockgate

WORKSPACE, SERVICE, ROLES = "lockgate_workspace", "lockgate_service", "lockgate_service_roles"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(WORKSPACE, "The folder with lockgate.yaml by which the fixture `lockgate` decides.", default="")
    parser.addini(SERVICE, "The id of the service that asks, which questions without a subject are about.", default="service")
    parser.addini(ROLES, "Its roles.", type="args", default=[])


@pytest.fixture(scope="session")
def lockgate_workspace(pytestconfig: pytest.Config) -> Path:
    """The folder whose decisions are tested."""
    named = str(pytestconfig.getini(WORKSPACE))
    if not named:
        raise pytest.UsageError(f"The fixture `lockgate` needs a workspace: set {WORKSPACE} in pytest's configuration.")
    base = pytestconfig.inipath.parent if pytestconfig.inipath is not None else pytestconfig.rootpath
    return base / named


@pytest.fixture(scope="session")
def lockgate_in_process(lockgate_workspace: Path, pytestconfig: pytest.Config) -> Iterator[Lockgate]:
    """One for all tests, since loading a model takes a while."""
    try:
        from lockgate.testing.pipeline import Lockgate
        from router.errors import ConfigError
    except ImportError as error:
        raise pytest.UsageError(f"The fixture `lockgate` needs Lockgate itself: pip install 'lockgate-sdk[testing]' ({error}).") from error

    try:
        with Lockgate(lockgate_workspace, str(pytestconfig.getini(SERVICE)), tuple(pytestconfig.getini(ROLES))) as made:
            yield made
    except ConfigError as error:
        raise pytest.UsageError(f"The workspace cannot be used:\n{error}") from error


@pytest.fixture
def lockgate(lockgate_in_process: Lockgate) -> Iterator[Lockgate]:
    """Decides as the workspace says, in this process; remembers nothing of the test before."""
    lockgate_in_process.reset()
    yield lockgate_in_process
    lockgate_in_process.reset()
