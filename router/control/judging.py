"""Who may do what, as policy says: asked once for each kind of question, and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.control.permissions import Permission, permissions
from router.errors import IdentityError, PolicyError

REMEMBERED = 4096
Reasons = tuple[tuple[str, str], ...]
Answer = tuple[str, Reasons]


class ControlPolicy(Protocol):
    """`digest` names what it consists of."""

    digest: str

    def judge(self, question: Mapping[str, Any]) -> Answer:
        """`allow` or `deny`, and reasons. Raises PolicyError for everything that is neither."""


class TablePolicy:
    """The table of `permissions.py` by itself, for break-glass, and for a control API without policies, as in tests."""

    digest = "table"

    def judge(self, question: Mapping[str, Any]) -> Answer:
        principal = question["principal"]
        given = permissions(tuple(principal["roles"]), frozenset(principal["scopes"]))
        wanted = question["permission"]
        missing = f"no role and no scope gives the permission {wanted}"
        return ("allow", (("table", "by the table"),)) if wanted in given else ("deny", (("permission_missing", missing),))


@dataclass(frozen=True, slots=True)
class Facts:
    """What policy knows of a principal. `kind`: key, certificate, session or break_glass. `age_s`: how many seconds ago they
    proved who they are, in whole minutes, so that answers can be remembered; 0 for keys and certificates."""

    kind: str
    roles: tuple[str, ...]
    scopes: frozenset[str]
    tenant: str | None = None
    methods: tuple[str, ...] = ()
    age_s: int = 0


@dataclass(frozen=True, slots=True)
class Doing:
    """What somebody is about to do: `path` as the route has it, with its parameters' names; `tenant` where the request names one. Nothing
    of it asks what they may do at all."""

    method: str = ""
    path: str = ""
    tenant: str | None = None


NOTHING = Doing()


class Judge:
    """`plain`: whether the policy reads nothing but roles, scopes and permission, as the shipped one does; then nothing else decides which
    answers are the same."""

    def __init__(self, policy: ControlPolicy, *, plain: bool = False) -> None:
        self.policy = policy
        self._plain = plain
        self._table = TablePolicy()
        self._known: dict[Any, Answer] = {}
        self._sets: dict[Any, frozenset[Permission]] = {}

    def permissions(self, facts: Facts) -> frozenset[Permission]:
        """What they may do at all; a policy that fails gives nothing."""
        key = (facts.kind == "break_glass", facts.roles, facts.scopes) if self._plain else facts
        known = self._sets.get(key)
        if known is None:
            known = frozenset(each for each in Permission if each is not Permission.PUBLIC and self._may(facts, each))
            _keep(self._sets, key, known)
        return known

    def check(self, facts: Facts, permission: Permission, doing: Doing) -> None:
        """Raises IdentityError (403): `permission_missing`, `control_policy_denied`, or what was wrong with the policy."""
        try:
            effect, reasons = self.answer(facts, permission, doing)
        except PolicyError as error:
            raise IdentityError(str(error), error.code, 403) from error
        if effect == "allow":
            return
        code, message = reasons[0]
        if code == "permission_missing":
            whose = {"key": "The key lacks", "certificate": "The certificate lacks"}.get(facts.kind, "You lack")
            raise IdentityError(f"{whose} the permission '{permission}'.", code, 403)
        raise IdentityError(f"The policy of the control API refuses it ({code}): {message}.", "control_policy_denied", 403)

    def answer(self, facts: Facts, permission: Permission, doing: Doing) -> Answer:
        """Raises PolicyError. What a failure was is not remembered."""
        if facts.kind == "break_glass":
            return self._table.judge(_question(facts, permission, doing))
        key = (facts.roles, facts.scopes, permission) if self._plain else (facts, permission, doing)
        known = self._known.get(key)
        if known is None:
            known = self.policy.judge(_question(facts, permission, doing))
            _keep(self._known, key, known)
        return known

    def _may(self, facts: Facts, permission: Permission) -> bool:
        try:
            return self.answer(facts, permission, NOTHING)[0] == "allow"
        except PolicyError:
            return False


def _question(facts: Facts, permission: Permission, doing: Doing) -> dict[str, Any]:
    principal = {
        "kind": facts.kind,
        "roles": list(facts.roles),
        "scopes": sorted(facts.scopes),
        "tenant": facts.tenant,
        "methods": list(facts.methods),
        "age_s": facts.age_s,
    }
    return {"principal": principal, "permission": permission.value, "method": doing.method, "path": doing.path, "tenant": doing.tenant}


def _keep(known: dict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= REMEMBERED:
        del known[next(iter(known))]
    known[key] = value
