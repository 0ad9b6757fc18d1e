"""The policies that were in force, each as an archive under the digest of its bytes, and the one that is put in force over the workspace's
own: promoted by a rollout, or gone back to. Below the state's folder, so that a restart goes on with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from router.bundle.archive import MAX_PACKED
from router.bundle.standing import keep
from router.durable import remove
from router.errors import BundleError, StateError

OVERRIDE = "(policies in force)"  # how a snapshot of a workspace names the override, which is no file of it
FOLDER, IN_FORCE, LISTED, ARCHIVES = "policies", "in_force.json", "versions.json", "versions"
MOST_KEPT = 50
NUMBER = (int, type(None))
UNREADABLE = "policy_version_unreadable"


@dataclass(frozen=True, slots=True)
class Override:
    """`archive` is the digest of its bytes. `sequence` is the highest that was ever in force: a bundle of the source with a higher one ends
    the override. `over` is the digest of the workspace's policies at that time; `why` is `promoted` or `rolled_back`, and `record` the id
    of the rollout or of going back."""

    archive: str
    why: str
    record: str
    since_ns: int
    over: str
    sequence: int | None = None

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def from_json(content: bytes) -> Override:
        """Raises BundleError."""
        try:
            found = Override(**json.loads(content))
            texts = (found.archive, found.why, found.record, found.over)
            if not all(isinstance(each, str) for each in texts) or type(found.since_ns) is not int or type(found.sequence) not in NUMBER:
                raise TypeError
            return found
        except (ValueError, TypeError, RecursionError) as error:
            raise BundleError("What is kept of the policies in force cannot be read; restore it.", UNREADABLE) from error


@dataclass(frozen=True, slots=True)
class Version:
    """`archive` as above; `policy` is the digest that stands in verdicts, `since_ns` when it came into force, `by` whence: `workspace`,
    `promoted` or `rolled_back`."""

    archive: str
    policy: str
    revision: str
    sequence: int | None
    since_ns: int
    by: str


class Versions:
    """Over `state`. Whoever writes is the control process; commands read beside it. What a method wrote is durable when it returns."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER

    def override(self) -> Override | None:
        """Raises BundleError where it is there and cannot be read: without it something else would decide."""
        path = self.folder / IN_FORCE
        if not path.exists():
            return None
        try:
            return Override.from_json(path.read_bytes())
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}.", UNREADABLE) from error

    def put_in_force(self, override: Override) -> None:
        """Raises StateError."""
        keep(self.folder / IN_FORCE, override.to_json())

    def release(self) -> None:
        """From the next look on the workspace's own policies decide. Raises StateError."""
        try:
            if (self.folder / IN_FORCE).exists():
                remove(self.folder / IN_FORCE)
        except OSError as error:
            raise StateError(f"{self.folder / IN_FORCE} cannot be removed: {error.strerror}.") from error

    def archive(self, digest: str) -> bytes:
        """Raises BundleError where it is gone or is not what it was."""
        path = self._place(digest)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_PACKED + 1)
        except OSError as error:
            raise BundleError(f"{path} with a version of the policies cannot be read: {error.strerror}.", UNREADABLE) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise BundleError(f"{path} is not the version of the policies that its name says; restore it.", UNREADABLE)
        return content

    def keep_archive(self, content: bytes) -> str:
        """Its digest. One that was damaged is put right. Raises StateError."""
        digest = hashlib.sha256(content).hexdigest()
        try:
            self.archive(digest)
        except BundleError:
            keep(self._place(digest), content)
        return digest

    def listed(self) -> list[Version]:
        """What was in force, newest first. Raises BundleError."""
        path = self.folder / LISTED
        if not path.exists():
            return []
        try:
            return [Version(**each) for each in json.loads(path.read_bytes())]
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise BundleError(f"{path} does not say which policies were in force; restore it.", UNREADABLE) from error

    def came_into_force(self, version: Version, wanted: Sequence[str] = ()) -> None:
        """Its archive has to be there. The oldest are forgotten beyond some, but for the archives that are `wanted`. Raises StateError,
        BundleError."""
        kept = [version, *self.listed()][:MOST_KEPT]
        keep(self.folder / LISTED, json.dumps([asdict(each) for each in kept], indent=1).encode())
        names = {*(each.archive for each in kept), *wanted}
        for path in (self.folder / ARCHIVES).glob("*.tar.gz"):
            if path.name.removesuffix(".tar.gz") not in names:
                path.unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise BundleError("A version of the policies is named by 64 hexadecimal digits.", UNREADABLE)
        return self.folder / ARCHIVES / f"{digest}.tar.gz"
