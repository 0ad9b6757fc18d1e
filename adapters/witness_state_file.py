"""What a witness remembers, in one small file: written anew beside the old one, synced, and put in its place in one step."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from router.audit.witnesses.desk import Seen
from router.errors import AuditError

FORMAT = 1


class WitnessStateFile:
    """Implements `router.audit.witnesses.desk.SeenStore`. Blocking; one process and one thread at a time, the former by a lock that ends
    with the process. `sync` makes what a descriptor stands for durable, as `os.fsync` does."""

    def __init__(self, path: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self._path = path
        self._sync = sync
        self._seen: dict[str, Seen] = {}
        self._lock: int | None = None
        self._fault: AuditError | None = None

    def open(self, *, new: bool) -> None:
        """`new` makes the file where there is none; else that is a fault, for a witness that forgot what it saw would sign a fork."""
        self._lock = _locked(self._path)
        try:
            if self._path.exists():
                self._seen = _read(self._path)
            elif new:
                self._write({})
            else:
                raise AuditError(
                    f"The witness has a key but no state at {self._path}: it would cosign a log's other history. Put the state back,"
                    " or begin anew with --new-state.",
                    "witness_state_missing",
                )
        except BaseException:
            self.close()
            raise

    def last(self, origin: str) -> Seen | None:
        return self._seen.get(origin)

    def replace(self, origin: str, last: Seen | None, seen: Seen) -> None:
        if self._fault is not None:
            raise AuditError(str(self._fault), self._fault.code)
        if self._seen.get(origin) != last:
            raise AuditError(f"The state of {origin} is not what it was.", "witness_state_changed")
        changed = {**self._seen, origin: seen}
        self._write(changed)
        self._seen = changed

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, seen: dict[str, Seen]) -> None:
        """A crash before the replacing leaves the old file, one after it the new one. After an error nobody knows which of them a power
        failure would leave, and a second fsync may report a success that there never was: nothing is written any more."""
        draft = self._path.with_name(self._path.name + ".draft")
        logs = {origin: {"note": each.note, "time": each.at} for origin, each in seen.items()}
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps({"format": FORMAT, "logs": logs}, indent=1).encode() + b"\n")
                file.flush()
                self._sync(file.fileno())
            draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                self._sync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            sentence = f"The witness's state {self._path} cannot be written: {error.strerror or error}."
            self._fault = AuditError(sentence, "witness_state_unwritable")
            raise self._fault from error


def _read(path: Path) -> dict[str, Seen]:
    try:
        content: Any = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise AuditError(f"{path} has format {content['format']}, this release knows {FORMAT}.", "witness_state_invalid")
        seen = {origin: Seen(str(each["note"]), int(each["time"])) for origin, each in content["logs"].items()}
        whole = all(each.checkpoint.origin == origin and each.at > 0 for origin, each in seen.items())
    except OSError as error:
        raise AuditError(f"The witness's state {path} cannot be read: {error.strerror}.", "witness_state_invalid") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AuditError(f"{path} is not a witness's state.", "witness_state_invalid") from error
    if not whole:
        raise AuditError(f"{path} is not a witness's state.", "witness_state_invalid")
    return seen


def _locked(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise AuditError(f"{lock} cannot be made: {error.strerror}.", "witness_state_unwritable") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise AuditError(f"The witness's state {path} is already in use by another process.", "witness_state_locked") from error
    return handle
