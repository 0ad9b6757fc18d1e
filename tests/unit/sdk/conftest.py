from __future__ import annotations

from collections.abc import Iterator

import pytest

from lockgate.client import Subject
from lockgate.testing import Lockgate
from tests.e2e.yard import NAMES, Yard

ANN = Subject("ann", roles=("employee",))


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """A workspace that decides by rules; what is POSTed to /pay/1 is held, /secret/x is denied."""
    folder = tmp_path_factory.mktemp("yard")
    made = Yard(folder, folder / "state", {name: port for port, name in enumerate(NAMES, start=1)})
    made.write()
    with Lockgate(folder) as lockgate:
        yield lockgate


@pytest.fixture
def lockgate(yard: Lockgate) -> Iterator[Lockgate]:
    yard.reset()
    yield yard
    yard.reset()
