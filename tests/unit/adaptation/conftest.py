from __future__ import annotations

import pytest

from tests.unit.adaptation.parts import Learning


@pytest.fixture
async def learning() -> Learning:
    made = Learning()
    await made.open()
    return made
