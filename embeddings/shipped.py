"""The texts that the injection head is trained from, as they are shipped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

ATTACK, ORDINARY = "attack", "ordinary"
FILES = {ATTACK: "attacks.txt", ORDINARY: "ordinary.txt"}


@cache
def shipped_texts() -> dict[str, tuple[str, ...]]:
    folder = files("embeddings") / "injection_texts"
    return {kind: tuple((folder / name).read_text("utf-8").splitlines()) for kind, name in FILES.items()}
