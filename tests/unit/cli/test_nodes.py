"""`lockgate nodes` with its commands: what is said where an option would be nobody's."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from router.cli.nodes import nodes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--json", "drain"), "Give options after the command: lockgate nodes drain"),
        (("--url", "http://127.0.0.1:1", "resume"), "Give options after the command: lockgate nodes resume"),
        (("drain", "--timeout", "5"), "--timeout says how long to --wait"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    """An option before the command is the list's: a key given there would not be the command's."""
    result = CliRunner().invoke(nodes, [*arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
