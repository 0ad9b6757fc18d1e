"""Whether somebody may approve a proposal, and whether as many have: judged by Rego, with what holds whatever it says in `state`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from router.decision import Subject
from router.errors import ConfigError, PolicyError, RefusedError
from router.ports import Approving, Clock, Lesson, SubjectKeys

VERSION = 1
APPROVE, ROLL_OUT = "approve", "roll_out"
OURS = "proposal_"  # codes of the policy that ships; others are a workspace's
CLEARED: Mapping[str, Any] = {"approver": None, "approvals": [], "judged": None}
"""Of a proposal's terms, once what was approved is not what it is any more."""


class Keys(SubjectKeys, Protocol):
    async def key(self, key_id: str) -> bytes | None: ...


class ApprovalPolicy(Protocol):
    """`digest` names what it consists of."""

    digest: str

    def judge(self, question: Mapping[str, Any]) -> Approving:
        """Raises PolicyError for everything that is no answer."""


@dataclass(frozen=True, slots=True)
class Person:
    """`acting`: keys of those who act for them, or for whom they act."""

    subject: Subject
    key_id: str
    acting: tuple[str, ...]

    def authored(self) -> dict[str, Any]:
        """Of the terms of a proposal that they make theirs."""
        return {"author": self.key_id, "author_acting": list(self.acting), "author_by": self.subject.authenticated_by}

    def approval(self, at_ns: int) -> dict[str, Any]:
        return {"key": self.key_id, "acting": list(self.acting), "roles": sorted(self.subject.roles), "at_ns": at_ns}


class Approvals:
    """`policy` is that of the configuration in force; `acting` names who acts for a subject."""

    def __init__(self, keys: Keys, clock: Clock, policy: Callable[[], ApprovalPolicy], acting: Callable[[Subject], Sequence[str]]) -> None:
        self._keys = keys
        self._clock = clock
        self._policy = policy
        self._acting = acting

    async def person(self, subject: Subject) -> Person:
        key_id, _ = await self._keys.key_for(subject.id)
        acting = [(await self._keys.key_for(name))[0] for name in self._acting(subject)]
        return Person(subject, key_id, tuple(sorted({*acting} - {key_id})))

    async def standing(self, proposal: Lesson) -> list[dict[str, Any]]:
        """Approvals of people whose keys are there: who was erased could come back as another one, and so counts no more."""
        return [each for each in given(proposal) if await self._keys.key(each["key"]) is not None]

    def may_approve(self, proposal: Lesson, person: Person, before: Sequence[Mapping[str, Any]], override: bool) -> dict[str, Any]:
        """Terms that say what was judged, and whether it is `complete`. Raises RefusedError."""
        judged = self._judged(APPROVE, proposal, person, before, override)
        self._permit(judged)
        return {"complete": judged.complete, "judged": self._told(judged)}

    def may_roll_out(self, proposal: Lesson, person: Person) -> None:
        """Once more, by the policy of now. Raises RefusedError."""
        self._permit(self._judged(ROLL_OUT, proposal, person, given(proposal), override=False))

    def enough(self, proposal: Lesson) -> bool:
        wanted = self.wanted(proposal)
        return wanted is not None and bool(wanted["complete"])

    def wanted(self, proposal: Lesson) -> dict[str, Any] | None:
        """How many and whom it takes; None where the policy cannot say so."""
        try:
            judged = self._judged(ROLL_OUT, proposal, None, given(proposal), override=False)
        except RefusedError:
            return None
        return {"approvals": judged.approvals, "each_of": list(judged.each_of), "complete": judged.complete}

    def _judged(self, kind: str, proposal: Lesson, person: Person | None, before: Sequence[Mapping[str, Any]], override: bool) -> Approving:
        try:
            return self._policy().judge(question(kind, proposal, person, before, self._clock.now_ns(), override))
        except (PolicyError, ConfigError) as error:
            raise RefusedError(
                f"Policy could not say whether this may be done, so it may not: {error}", "proposal_unjudged", 403
            ) from error

    def _permit(self, judged: Approving) -> None:
        if judged.allowed:
            return
        code, message = judged.reasons[0]
        if code.startswith(OURS):
            status = 409 if code in ("proposal_approvals_missing", "proposal_approved_before") else 403
            raise RefusedError(f"{message[:1].upper()}{message[1:]}.", code, status)
        raise RefusedError(f"Policy does not let you approve this ({code}): {message}.", "proposal_denied", 403)

    def _told(self, judged: Approving) -> dict[str, Any]:
        return {"policy": self._policy().digest, "approvals": judged.approvals, "each_of": list(judged.each_of)}


def given(proposal: Lesson) -> list[dict[str, Any]]:
    """What an older release had approved was approved by one, of whom it kept the key alone."""
    terms = proposal.terms
    if "approvals" in terms:
        return list(terms["approvals"])
    return [{"key": terms["approver"], "acting": [], "roles": [], "at_ns": proposal.at_ns}] if terms["approver"] else []


def question(
    kind: str, proposal: Lesson, person: Person | None, before: Sequence[Mapping[str, Any]], now_ns: int, override: bool
) -> dict[str, Any]:
    """What `data.lockgate.learning` is told. People are named by the id of their key."""
    terms, subject = proposal.terms, None if person is None else person.subject
    evaluation = terms["evaluation"] or {}
    return {
        "version": VERSION,
        "attempt": {"kind": kind, "override": override, "time": {"ns": now_ns}},
        "approver": {
            "key": "" if person is None else person.key_id,
            "id": "" if subject is None else subject.id,
            "type": "" if subject is None else subject.type,
            "roles": [] if subject is None else list(subject.roles),
            "groups": [] if subject is None else list(subject.groups),
            "tenant": None if subject is None else subject.tenant,
            "authenticated_by": "" if subject is None else subject.authenticated_by,
            "acting": [] if person is None else list(person.acting),
        },
        "author": {
            "key": terms["author"] or "",
            "acting": list(terms.get("author_acting", ())),
            "authenticated_by": terms.get("author_by", ""),
        },
        "approvals": [{name: each[name] for name in ("key", "roles", "acting")} for each in before],
        "proposal": {
            "id": proposal.id,
            "type": terms["type"],
            "state": proposal.state,
            "intents": sorted(terms["intents"]),
            "texts": len(proposal.texts),
            "decisions": len(set(terms["sources"].values())),
            "faults": len(evaluation.get("faults", ())),
        },
    }
