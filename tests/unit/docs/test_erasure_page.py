"""The page about erasure says which roles may order what, and no others do."""

from __future__ import annotations

import re

import pytest

from router.control.permissions import ROLES, Permission
from tests.unit.docs.pages import page, section

ROWS = re.findall(r"^\| [^|]+ \| `(audit\.\w+)` \| (.+?) \|$", section(page("erasure.md"), "Who may"), re.MULTILINE)


@pytest.mark.parametrize(("permission", "roles"), ROWS)
def test_the_roles_of_a_row_are_those_that_have_it(permission: str, roles: str) -> None:
    """Whoever answers for personal data reads here who can touch it."""
    assert sorted(re.findall(r"`(\w+)`", roles)) == sorted(name for name, given in ROLES.items() if Permission(permission) in given)


def test_there_are_rows() -> None:
    assert [permission for permission, _ in ROWS] == ["audit.erase", "audit.prune", "audit.hold", "audit.read"]
