"""What a command that reads the trail says of how much it read."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.audit.questions.reading import FOLDER, notes
from router.cli.audit.noting import noted


def test_what_was_read_before_a_failure_is_counted(tmp_path: Path) -> None:
    """It was opened all the same."""

    def interrupted() -> None:
        with noted(tmp_path, "replay", "", personal=True) as read:
            for row in read.counting([1, 2, 3]):
                if row == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [reading.rows for _, _, reading in notes(tmp_path / FOLDER)] == [2]
