from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sqlite.api_keys import SqliteApiKeys
from tests.unit.identity.parts import HandClock, open_keys


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def keys(tmp_path: Path, clock: HandClock) -> Iterator[SqliteApiKeys]:
    store = open_keys(tmp_path, clock)
    yield store
    store.close()
