"""Real parts that the identity tests share: a clock that is set by hand and an open key store in a file."""

from __future__ import annotations

from pathlib import Path

from adapters.sqlite.api_keys import SqliteApiKeys
from router.decision import Subject
from router.identity import api_keys

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND
ALICE = Subject("alice", "user", ("payments_clerk",), ("finance",), "halden", authenticated_by="api_key")


class HandClock:
    def __init__(self, now_ns: int = NOW) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def open_keys(folder: Path, clock: HandClock) -> SqliteApiKeys:
    keys = SqliteApiKeys(folder / "state" / "identity.sqlite", clock)
    keys.open()
    return keys


def new_key(keys: SqliteApiKeys, *scopes: str, expires_ns: int | None = None, subject: Subject = ALICE) -> tuple[str, bytes]:
    """(public id, the key as its holder sends it)."""
    key, plain = api_keys.create(keys, "test", subject, frozenset(scopes or ("gateway",)), NOW, expires_ns)
    return key.id, plain.encode()
