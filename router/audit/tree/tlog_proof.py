"""The text form of an inclusion proof: C2SP `tlog-proof`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

MARK = "c2sp.org/tlog-proof@v1"


def proof_text(index: int, hashes: Sequence[bytes], note: str) -> str:
    """`hashes` lead from the leaf's sibling upwards, into the tree of the checkpoint in `note`."""
    return "\n".join([MARK, f"index {index}", *(b64encode(each).decode() for each in hashes), "", note])
