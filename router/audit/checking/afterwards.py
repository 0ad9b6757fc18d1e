"""What was sealed under a key after the ledger had said that the key was destroyed.

No Lockgate does that: before a key goes the ledger is told to take nothing under it, and what is on its way loses its personal part. Where
an old copy of the keys was put back one may have been used again, until that was noticed. The ledger says so then, and excuses what was
sealed before: `erased_keys_found`, and `erasure_repeated` once it is gone again, of which a crash may have left the first alone. Whether
such a personal part opens under the key cannot be told, for who could open it should not be there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from router.audit.checking.chunk import Chunk, Fault
from router.audit.governance.standing import CARRIED, ERASED, FOUND_AGAIN, There


@dataclass(slots=True)
class Afterwards:
    """By key id: the first record that says that it was destroyed, those sealed under it after that one, and what says that it was there
    again."""

    destroyed: dict[str, int] = field(default_factory=dict)
    sealed: dict[str, array[int]] = field(default_factory=dict)
    again: dict[str, list[There]] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> None:
        """In the order of the records."""
        for index, leaf in chunk.orders:
            if leaf["event"] in (ERASED, CARRIED):
                self._destroyed(index, leaf.get("details"))
        for there in chunk.again:
            for key_id in there.key_ids:
                self.again.setdefault(key_id, []).append(there)
        if self.destroyed:
            for index, key_id in enumerate(chunk.sealed_under, chunk.start):
                if key_id in self.destroyed and index > self.destroyed[key_id]:
                    self.sealed.setdefault(key_id, array("Q")).append(index)

    def faults(self, signed: int) -> Iterator[Fault]:
        """The first such record of each key. What no checkpoint covers accuses nobody, and excuses nothing."""
        for key_id, indexes in self.sealed.items():
            again = [there for there in self.again.get(key_id, ()) if there.record < signed]
            late = next((index for index in indexes if index < signed and not _excused(index, again)), None)
            if late is not None:
                said = f"Record {late} is sealed under a key that record {self.destroyed[key_id]} says was destroyed: a copy was kept,"
                yield Fault(late, "sealed_after_erasure", f"{said} or the record was made up.")

    def _destroyed(self, index: int, details: object) -> None:
        """One in another form is a fault of its own."""
        key_id = details.get("key_id") if isinstance(details, dict) else None
        if isinstance(key_id, str) and key_id:
            self.destroyed.setdefault(key_id, index)


def _excused(index: int, again: Iterable[There]) -> bool:
    last = None
    for there in again:
        if there.record > index:
            return True
        last = there
    return last is not None and last.event == FOUND_AGAIN
