"""Which witnesses must have cosigned a checkpoint before it counts as witnessed: a policy file in the form of C2SP `tlog-policy`.

Whatever the specification does not allow is refused, with its line: a policy that is read otherwise than it was meant is worse than none.
The file is bytes to it, and names are opaque: here they are text with what is no UTF-8 kept apart (`surrogateescape`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.audit.tree.checkpoint import NoteVerifier
from router.audit.witnesses.cosignature import Cosignature, CosignatureVerifier
from router.errors import AuditError, ConfigError

NONE = "none"
_COMMENT = "#"


@dataclass(frozen=True, slots=True)
class PolicyLog:
    verifier: str
    url: str | None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """`name` is the policy's own, `verifier.name` the one that the witness signs under."""

    name: str
    verifier: CosignatureVerifier
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a quorum says about a checkpoint: all of it was the largest that they had seen, each as of `as_of` (POSIX seconds) or later.
    `names` are the policy's names of everybody who cosigned."""

    as_of: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: Mapping[str, Group]
    quorum: str

    @property
    def asks_for_nobody(self) -> bool:
        """`quorum none`: under it everything counts as witnessed, so that it proves nothing."""
        return self.quorum == NONE

    @property
    def splits(self) -> bool:
        """Whether two sets of witnesses without a common one can each make up the quorum: then so can two histories."""
        return not self.asks_for_nobody and self._splits(self.quorum)

    def met(self, names: Collection[str]) -> bool:
        """Whether these witnesses make up the quorum. Never by a policy that asks for nobody."""
        return not self.asks_for_nobody and self._met(self.quorum, names)

    def cosignatures(self, note: str) -> dict[str, Cosignature]:
        """Those under a note that are by witnesses of the policy and right, by the policy's names. Others' are passed over. Raises
        AuditError `checkpoint_invalid` when one is wrong."""
        found = ((witness.name, witness.verifier.find(note)) for witness in self.witnesses)
        return {name: cosignature for name, cosignature in found if cosignature is not None}

    def witnessed(self, cosignatures: Mapping[str, Cosignature]) -> Witnessed | None:
        """None without a quorum. Of several quorums the one that was renewed last counts."""
        newest_first = sorted(cosignatures, key=lambda name: -cosignatures[name].at)
        for count in range(1, len(newest_first) + 1):
            if self.met(newest_first[:count]):
                return Witnessed(cosignatures[newest_first[count - 1]].at, tuple(sorted(newest_first)))
        return None

    def accepts_log(self, verifier: str) -> bool:
        """A policy that names no log leaves it to whoever uses it which one it is about."""
        return not self.logs or any(log.verifier == verifier for log in self.logs)

    def _met(self, name: str, names: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in names
        return sum(self._met(member, names) for member in group.members) >= group.threshold

    def _splits(self, name: str) -> bool:
        """Every name is a member at most once. So members that split serve both sets, and of the others each serves one."""
        group = self.groups.get(name)
        if group is None:
            return False
        both = sum(self._splits(member) for member in group.members)
        return 2 * (group.threshold - both) <= len(group.members) - both


def read_policy(path: Path) -> WitnessPolicy:
    """Raises ConfigError with every fault, by line, or where the file cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}:1: The witness policy cannot be read: {(error.strerror or str(error)).lower()}.") from error
    return parse_policy(content, str(path))


def verifying_policy(path: Path, verifier: str | None) -> WitnessPolicy:
    """A policy that something can be held against: it asks for somebody, and is about the log of this key where it names logs. Raises
    ConfigError for what is wrong with the file, AuditError for a policy that says nothing here."""
    policy = read_policy(path)
    if policy.asks_for_nobody:
        raise AuditError(f"The policy {path} asks for no witness (`quorum none`), so it proves nothing.", "witness_policy_empty")
    if verifier is not None and not policy.accepts_log(verifier):
        raise AuditError(f"The policy {path} is about other logs than the one with the key {verifier}.", "witness_policy_other_log")
    return policy


def parse_policy(content: bytes, file: str) -> WitnessPolicy:
    """`file` is what faults name."""
    reading = _Reading(file)
    reading.read(content)
    return reading.policy()


@dataclass(slots=True)
class _Reading:
    file: str
    logs: list[PolicyLog] = field(default_factory=list)
    witnesses: dict[str, PolicyWitness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    faults: list[str] = field(default_factory=list)
    _line: int = 0
    _quorum_seen: bool = False
    _names: set[str] = field(default_factory=set)
    _members: set[str] = field(default_factory=set)
    _keys: dict[bytes, str] = field(default_factory=dict)

    def read(self, content: bytes) -> None:
        if content and not content.endswith(b"\n"):
            self._line = content.count(b"\n") + 1
            self._fault("The last line does not end, so the file may have been cut off.")
        for self._line, line in enumerate(content.split(b"\n"), start=1):
            if any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in line):
                self._fault("There is a control character other than a tab.")
                continue
            words = line.decode("utf-8", "surrogateescape").replace("\t", " ").split(" ")
            items = [word for word in words if word]
            if items and not items[0].startswith(_COMMENT):
                self._definition(items[0], items[1:])

    def policy(self) -> WitnessPolicy:
        if not self._quorum_seen:
            self._fault("There is no quorum line; it says who must have cosigned, and `quorum none` that nobody must.")
        if self.faults or self.quorum is None:
            raise ConfigError(*self.faults)
        return WitnessPolicy(tuple(self.logs), tuple(self.witnesses.values()), self.groups, self.quorum)

    def _definition(self, keyword: str, items: Sequence[str]) -> None:
        definitions = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum}
        define = definitions.get(keyword)
        if define is None:
            self._fault(f"'{shown(keyword)}' is none of log, witness, group, quorum.")
            return
        define(items)

    def _log(self, items: Sequence[str]) -> None:
        if not 1 <= len(items) <= 2:
            self._fault("A log is written `log <verifier key> [<URL>]`.")
            return
        try:
            NoteVerifier(items[0])
        except (AuditError, UnicodeEncodeError):
            self._fault("The log's key is not an Ed25519 verifier key (type 1) of the form name+keyid+base64.")
            return
        key = items[0].rpartition("+")[2]
        if any(log.verifier.rpartition("+")[2] == key for log in self.logs):
            self._fault("This log's key is on an earlier line already.")
            return
        self.logs.append(PolicyLog(items[0], items[1] if len(items) == 2 else None))

    def _witness(self, items: Sequence[str]) -> None:
        if not 2 <= len(items) <= 3:
            self._fault("A witness is written `witness <name> <verifier key> [<URL>]`.")
            return
        name = items[0]
        try:
            verifier = CosignatureVerifier(items[1])
        except AuditError as error:
            self._fault(f"Witness '{shown(name)}': {error}")
            self._define(name)
            return
        if verifier.public in self._keys:
            self._fault(f"Witness '{shown(name)}' has the key of '{shown(self._keys[verifier.public])}'; one key must not count twice.")
        if self._define(name):
            self._keys.setdefault(verifier.public, name)
            self.witnesses[name] = PolicyWitness(name, verifier, items[2] if len(items) == 3 else None)

    def _group(self, items: Sequence[str]) -> None:
        if len(items) < 3:
            self._fault("A group is written `group <name> all|any|<number> <name>...`, with at least one member.")
            return
        name, wanted, *members = items
        for member in members:
            self._member(member)
        threshold = _threshold(wanted, len(members))
        if threshold is None:
            self._fault(f"Group '{shown(name)}' needs `all`, `any` or a number from 1 to {len(members)}, not '{shown(wanted)}'.")
        if self._define(name) and threshold is not None:
            self.groups[name] = Group(threshold, tuple(members))

    def _member(self, name: str) -> None:
        if not self._known(name):
            self._fault(f"There is no witness or group '{shown(name)}' on an earlier line.")
        elif name in self._members:
            self._fault(f"'{shown(name)}' is a member already; it must not count twice.")
        self._members.add(name)

    def _quorum(self, items: Sequence[str]) -> None:
        again, self._quorum_seen = self._quorum_seen, True
        if again:
            self._fault("There is a quorum line already.")
        elif len(items) != 1:
            self._fault("The quorum is written `quorum <name>`.")
        elif items[0] != NONE and not self._known(items[0]):
            self._fault(f"The quorum is '{shown(items[0])}', but no earlier line defines a witness or group of that name.")
        else:
            self.quorum = items[0]

    def _known(self, name: str) -> bool:
        return name in self._names

    def _define(self, name: str) -> bool:
        """Remembers the name also of what is wrong otherwise, so that one mistake is told once."""
        if name == NONE:
            self._fault(f"'{NONE}' is what a quorum without witnesses is called, and no name for anything else.")
            return False
        if name in self._names:
            self._fault(f"There is a witness or group '{shown(name)}' already.")
            return False
        self._names.add(name)
        return True

    def _fault(self, sentence: str) -> None:
        self.faults.append(f"{self.file}:{max(1, self._line)}: {sentence}")


def _threshold(written: str, members: int) -> int | None:
    if written in ("all", "any"):
        return members if written == "all" else 1
    if not (written.isascii() and written.isdecimal()) or written.startswith("0") or len(written) > 9:
        return None
    return int(written) if int(written) <= members else None


def shown(name: str) -> str:
    """A name for people: what is no UTF-8 in it is written in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def reachable(policy: WitnessPolicy) -> Iterator[PolicyWitness]:
    """The witnesses that can be asked."""
    return (witness for witness in policy.witnesses if witness.url is not None)
