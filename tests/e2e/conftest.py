from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.running import Lockgate, company, prepared


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("yard")) as lockgate:
        yield lockgate


@pytest.fixture
def lockgate(running: Lockgate) -> Lockgate:
    """The one that all cheap tests share; its service remembers nothing of the test before."""
    running.forget()
    return running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Lockgate]]:
    """Starts a Lockgate of the test's own: `start(*arguments, **changes of the configuration)`."""
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(company(tmp_path, *arguments, **changes))


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Callable[..., Lockgate]]:
    """As `start`, for a test that starts it by itself."""
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(prepared(tmp_path, *arguments, **changes))
