"""Which bundle was last in force, across restarts: no older one is taken up after it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from router.bundle.content import Bundle
from router.durable import replace
from router.errors import BundleError, StateError

FILE = "accepted.json"
ROLLED_BACK = "bundle_rolled_back"


@dataclass(frozen=True, slots=True)
class Accepted:
    sequence: int
    digest: str


def accepted(folder: Path) -> Accepted | None:
    """None where none was. Raises BundleError where that cannot be told, for then an older one could come back."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        found = Accepted(document["sequence"], document["digest"])
        if type(found.sequence) is not int or not isinstance(found.digest, str):
            raise TypeError
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BundleError(f"{path} does not say which bundle was last in force; restore it.", ROLLED_BACK) from error
    return found


def check_newer(bundle: Bundle, before: Accepted | None) -> None:
    """Raises BundleError `bundle_rolled_back`. A bundle without a number is older than every one that has one."""
    if before is None:
        return
    if bundle.sequence is None or bundle.sequence < before.sequence:
        number = "no sequence" if bundle.sequence is None else f"the sequence {bundle.sequence}"
        sentence = (
            f"The bundle has {number}, and {before.sequence} was in force before; to go back, build the former policies with a higher one."
        )
        raise BundleError(sentence, ROLLED_BACK)
    if bundle.sequence == before.sequence and bundle.digest != before.digest:
        raise BundleError(f"The bundle has the sequence {bundle.sequence} of another one that was in force before.", ROLLED_BACK)


def accept(folder: Path, bundle: Bundle) -> None:
    """Durable when it returns. After the bundle is in force, or one that cannot be used would bar the last good one. Raises StateError."""
    if bundle.sequence is None:
        return
    keep(folder / FILE, json.dumps({"sequence": bundle.sequence, "digest": bundle.digest}).encode())


def keep(path: Path, content: bytes) -> None:
    """Durable when it returns. Raises StateError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replace(path) as file:
            file.write(content)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}.") from error
