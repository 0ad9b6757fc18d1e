"""The table of roles as the data that the control API's policy reads (`policies/control/data.yaml`)."""

from __future__ import annotations

import textwrap

from router.control.permissions import ROLES, Permission

HEAD = """# Which permissions a role gives in the control API and the console. Generated from router/control/permissions.py by `make docs`.
lockgate:
  config:
    control:
      roles:
"""
SINGLE = "      # What a key can have as a scope of its own, with `control:` before it.\n"


def roles_document() -> str:
    roles = "".join(_line(f"        {role}: ", given | {Permission.SELF}) for role, given in ROLES.items())
    return HEAD + roles + SINGLE + _line("      single: ", ROLES["admin"])


def _line(begin: str, given: frozenset[Permission]) -> str:
    listed = ", ".join(each.value for each in Permission if each in given)
    wrapped = textwrap.wrap(f"{begin}[{listed}]", 120, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapped) + "\n"
