"""C2SP `tlog-policy` files: which logs' keys count, which witnesses there are, and how many of whom must have cosigned."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from lockgate_verify.failure import Refusal, misuse
from lockgate_verify.note import LOG, WITNESS, Key

MAX_BYTES = 65_536
NONE = "none"
_OTHER_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(slots=True)
class Policy:
    """`groups` are (least number, members) in the order of definition, so that each refers to what stands before it."""

    logs: list[Key] = field(default_factory=list)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    quorum: str = ""

    def met(self, cosigned: Collection[str]) -> bool:
        """`cosigned` are the policy's names of the witnesses whose cosignatures were verified."""
        holding = set(cosigned)
        for name, (least, members) in self.groups.items():
            if len(holding.intersection(members)) >= least:
                holding.add(name)
        return self.quorum == NONE or self.quorum in holding


def parse_policy(raw: bytes) -> Policy:
    """Raises Refusal, with the number of the line at fault; 0 stands for the file as a whole."""
    if len(raw) > MAX_BYTES:
        raise _malformed(0)
    text = raw.decode("latin-1")  # octets, as the specification has it
    policy, members = Policy(), set[str]()
    for place, line in enumerate(text.split("\n"), 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if _OTHER_CONTROL.search(line):
            raise _malformed(place)
        if words and not words[0].startswith("#"):
            try:
                _take(policy, members, words[0], words[1:])
            except ValueError as error:
                raise _malformed(place) from error
    if not policy.quorum:
        raise misuse("policy_malformed", "The policy has no quorum line, so nothing would satisfy it.")
    return policy


def _malformed(place: int) -> Refusal:
    where = f"line {place}" if place else "the file"
    return misuse("policy_malformed", f"The policy is not one that this verifier can hold to: see {where}.")


def _take(policy: Policy, members: set[str], word: str, rest: list[str]) -> None:
    if word == "log" and len(rest) in (1, 2):
        policy.logs.append(_fresh(_key(rest[0], LOG), policy.logs))
    elif word == "witness" and len(rest) in (2, 3):
        policy.witnesses[_unused(policy, rest[0])] = _fresh(_key(rest[1], WITNESS), policy.witnesses.values())
    elif word == "group" and len(rest) >= 3:
        policy.groups[_unused(policy, rest[0])] = _group(policy, members, rest[1], rest[2:])
    elif word == "quorum" and len(rest) == 1 and not policy.quorum:
        policy.quorum = rest[0] if rest[0] == NONE else _defined(policy, rest[0])
    else:
        raise ValueError(word)


def _key(text: str, kind: int) -> Key:
    return Key.parse(text.encode("latin-1").decode("utf-8"), kind)


def _fresh(key: Key, others: Collection[Key]) -> Key:
    if any(key.public == other.public for other in others):
        raise ValueError("the same key twice")
    return key


def _unused(policy: Policy, name: str) -> str:
    if name == NONE or name in policy.witnesses or name in policy.groups:
        raise ValueError("a name that is taken")
    return name


def _defined(policy: Policy, name: str) -> str:
    if name not in policy.witnesses and name not in policy.groups:
        raise ValueError("a name that is not defined before")
    return name


def _group(policy: Policy, members: set[str], least: str, names: list[str]) -> tuple[int, list[str]]:
    for name in names:
        if _defined(policy, name) in members:
            raise ValueError("a member of two groups")
        members.add(name)
    if least not in ("any", "all") and not _COUNT.fullmatch(least):
        raise ValueError("not a number of members")
    count = {"any": 1, "all": len(names)}.get(least) or int(least)
    if count > len(names):
        raise ValueError("more than there are members")
    return count, names
