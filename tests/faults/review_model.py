"""What a held request must do, written down a second time and otherwise: by rules over a few plain values. Two must approve; what is held
may be changed, escalated once, asked about; the policies may change once, after which it would be judged otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field

EXPIRES_S, CLAIM_S, RESPOND_S, ESCALATE_S = 7200, 600, 900, 3600
MANAGERS, CHIEFS, ASKER = ("rita", "ruben", "anna"), ("cleo", "carl"), "anna"
OPEN = ("pending", "assigned", "escalated")
ENDED = ("done", "rejected", "expired", "cancelled", "uncertain", "failed")
ANY_TIME = ("reject", "cancel", "escalate")
BOUND = ("approve", "modify")
SENT = {"after send", "before step done", "after step done", "after record dispatched", "after record routed 200", "after mark done"}
TAKEN_UP = {"after step approved", "after record approved", "after mark approved", "before step dispatched"}
UNSENT = {"after step dispatched", "before send"}  # that it is sent is recorded with how it ended
LOST = {"before step approved"}
MOMENTS = (*sorted(LOST), *sorted(TAKEN_UP), *sorted(UNSENT), *sorted(SENT))


@dataclass
class Model:
    """Seconds since it was held. `moves` is how many steps there were, `own` each person's last one."""

    state: str = "pending"
    level: int = 0
    round: int = 0
    given: list[str] = field(default_factory=list)
    claimant: str = ""
    claimed: int = 0
    began: int = 0
    asked: int = 0
    now: int = 0
    judged: int = 0
    policy: int = 0
    sent: int = 0
    moves: int = 1
    own: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    @property
    def resting(self) -> str:
        return "escalated" if self.level else "pending"

    def refusal(self, kind: str, who: str) -> str | None:
        """The code of the first rule that is against it."""
        if self.state not in _from(kind):
            return "review_not_pending"
        if self.now >= EXPIRES_S:
            return "review_expired"
        if kind in ("answer", "cancel") or (kind == "reject" and who == ASKER):
            return None if who == ASKER else "not_requester"
        if who not in (CHIEFS if self.level else MANAGERS):
            return "reviewer_role_missing"
        if who == ASKER:
            return "self_approval"
        over = self.now >= self.claimed + CLAIM_S
        if self.state == "assigned" and who != self.claimant and (kind in ("release", "claim") or not over):
            return "review_claimed"
        if kind == "approve" and who in self.given:
            return "already_approved"
        if kind in BOUND and self.policy != self.judged:
            return "review_superseded"
        return "escalation_unknown" if kind == "escalate" and self.level else None

    def repeated(self, kind: str, who: str) -> bool:
        """Whether it is the person's own last step once more."""
        last = self.own.get(who)
        if last is None or last[0] != kind or kind in ("ask", "answer", "claim", "modify"):
            return False
        if kind == "approve":
            return last[2] == self._content
        return kind in ("reject", "cancel") or last[1] == self.moves

    @property
    def _content(self) -> int:
        return self.round

    def supersede(self) -> None:
        """Judged again by the policies of now: it waits anew."""
        self.judged = self.policy
        self.state = self.resting
        self.given, self.claimant, self.began = [], "", self.now
        self.round += 1
        self.moves += 1

    def take(self, kind: str, who: str) -> None:
        """The step of somebody against whom there is no rule."""
        self.moves += 1
        if kind == "claim":
            self.state, self.claimant, self.claimed = "assigned", who, self.now
        elif kind == "release":
            self._rest()
        elif kind == "approve":
            self.given.append(who)
            self._rest()
        elif kind == "modify":
            self.round += 1
            self.given = [who]
            self._rest()
        elif kind == "ask":
            self.state, self.claimant, self.asked = "more_information", "", self.now
        elif kind == "answer":
            self.round += 1
            self.given = []
            self._rest()
        elif kind == "escalate":
            self._escalate()
        else:
            self.state, self.claimant = {"reject": "rejected", "cancel": "cancelled"}[kind], ""
        if len(self.given) >= 2 and self.state in OPEN:
            self.state = "approved"
        self.own[who] = (kind, self.moves, self._content)

    def dispatched(self, moment: str | None = None) -> None:
        """Approved, and sent unless something happened at that moment."""
        self.moves += 2
        if moment in UNSENT:
            self.state = "uncertain"
        elif moment in SENT and moment in ("after send", "before step done"):
            self.state, self.sent = "uncertain", 1
        else:
            self.state, self.sent = "done", 1

    def time(self) -> None:
        """One look at what is due."""
        if self.state not in (*OPEN, "more_information"):
            return
        due = (
            self.now >= EXPIRES_S or (self.state == "more_information" and self.now >= self.asked + RESPOND_S),
            not self.level and self.now >= self.began + ESCALATE_S,
            self.state == "assigned" and self.now >= self.claimed + CLAIM_S,
        )
        if not any(due):
            return
        self.moves += 1
        if due[0]:
            self.state, self.claimant = "expired", ""
        elif due[1]:
            self._escalate()
        else:
            self._rest()

    def _rest(self) -> None:
        self.state, self.claimant = self.resting, ""

    def _escalate(self) -> None:
        self.level, self.given, self.began = 1, [], self.now
        self.round += 1
        self._rest()


def _from(kind: str) -> tuple[str, ...]:
    if kind == "release":
        return ("assigned",)
    if kind == "answer":
        return ("more_information",)
    return (*OPEN, "more_information") if kind in ANY_TIME else OPEN
