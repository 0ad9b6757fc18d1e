"""Who may do what in the control API. A key needs the scope `control` and a role, or one permission as a scope of its own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

GATEWAY, DECIDE, DELEGATE, CONTROL = "gateway", "decide", "delegate", "control"  # delegate: decide for somebody else
SINGLE = "control:"


class Permission(StrEnum):
    PUBLIC = "public"  # said out loud on health and readiness; nobody is granted it
    SELF = "self"  # who am I, sign me out; comes with any role
    METRICS_READ = "metrics.read"
    CONFIG_READ = "config.read"
    CONFIG_RELOAD = "config.reload"
    NODES_DRAIN = "nodes.drain"  # to take this node out of service, and to let it serve again
    AUDIT_READ = "audit.read"
    AUDIT_PERSONAL = "audit.personal"  # no role but admin's has it: it is granted to a key, for a purpose
    EVIDENCE_WRITE = "evidence.write"  # what a service did under a decision; in no role but admin, services get it as a single scope
    AUDIT_ERASE = "audit.erase"
    AUDIT_HOLD = "audit.hold"
    AUDIT_PRUNE = "audit.prune"
    REVIEWS_READ = "reviews.read"
    REVIEWS_FOLLOW = "reviews.follow"  # where a held request stands, by its id and no more; services get it as a single scope
    REVIEWS_DECIDE = "reviews.decide"
    REVIEWS_ANSWER = "reviews.answer"  # to answer a reviewer's question about one's own request, or to take it back; as a single scope
    DELIVERIES_READ = "deliveries.read"  # where they go, how often they failed and why; nothing of what was asked
    DELIVERIES_WRITE = "deliveries.write"  # to have those that were given up sent again, or dropped
    POLICY_READ = "policy.read"
    POLICY_PROPOSE = "policy.propose"
    POLICY_APPROVE = "policy.approve"
    POLICY_ROLLBACK = "policy.rollback"
    POLICY_TRY = "policy.try"  # to have one's own policies evaluated on this machine, in a process with limits
    FEEDBACK_WRITE = "feedback.write"  # to say whether a decision was right; services get it as a single scope
    LABELS_WRITE = "labels.write"  # to read masked texts of sampled decisions and say what they are about
    LABELS_SEED = "labels.seed"  # to name what sampled texts are known to be about, by which it is seen how well people label
    REVIEWERS_READ = "reviewers.read"  # how well and how fast each of them labels; in no role but the lead's and admin's
    PROPOSALS_READ = "proposals.read"  # what was said about decisions, and what is proposed because of it
    PROPOSALS_PROPOSE = "proposals.propose"
    PROPOSALS_APPROVE = "proposals.approve"
    KEYS_READ = "keys.read"
    KEYS_WRITE = "keys.write"
    SESSIONS_READ = "sessions.read"
    SESSIONS_WRITE = "sessions.write"  # to end other people's


P = Permission
VIEWER = frozenset({P.METRICS_READ, P.CONFIG_READ, P.POLICY_READ})
REVIEWER = frozenset({P.REVIEWS_READ, P.REVIEWS_DECIDE, P.FEEDBACK_WRITE, P.LABELS_WRITE})
# Held requests and audit records show what people asked for, so operating Lockgate does not include reading them.
ROLES: Mapping[str, frozenset[Permission]] = {
    "viewer": VIEWER,
    "operator": VIEWER | {P.CONFIG_RELOAD, P.NODES_DRAIN, P.POLICY_ROLLBACK, P.DELIVERIES_READ, P.DELIVERIES_WRITE},
    "policy_author": VIEWER
    | {P.CONFIG_RELOAD, P.AUDIT_READ, P.POLICY_TRY, P.POLICY_PROPOSE, P.POLICY_ROLLBACK, P.PROPOSALS_READ, P.PROPOSALS_PROPOSE},
    "policy_approver": VIEWER | {P.AUDIT_READ, P.POLICY_TRY, P.POLICY_APPROVE, P.POLICY_ROLLBACK, P.PROPOSALS_READ, P.PROPOSALS_APPROVE},
    "reviewer": REVIEWER,
    "review_lead": REVIEWER | {P.AUDIT_READ, P.LABELS_SEED, P.REVIEWERS_READ},
    "auditor": VIEWER | {P.AUDIT_READ, P.REVIEWS_READ, P.DELIVERIES_READ, P.KEYS_READ, P.SESSIONS_READ, P.PROPOSALS_READ},
    # Who may destroy evidence may not release what keeps it from being destroyed, and the other way round.
    "privacy_officer": frozenset({P.AUDIT_READ, P.AUDIT_ERASE, P.AUDIT_PRUNE}),
    "legal_officer": frozenset({P.AUDIT_READ, P.AUDIT_HOLD}),
    "admin": frozenset(P) - {P.PUBLIC},
}
SCOPES = frozenset({GATEWAY, DECIDE, DELEGATE, CONTROL, *(SINGLE + permission for permission in ROLES["admin"])})


def permissions(roles: tuple[str, ...], scopes: frozenset[str]) -> frozenset[Permission]:
    """Unknown roles and scopes give nothing. Roles count only beside the scope `control`: a gateway key's `admin` is another's word."""
    single = {permission for permission in ROLES["admin"] if SINGLE + permission in scopes}
    by_role = [ROLES[role] | {P.SELF} for role in roles if role in ROLES] if CONTROL in scopes else []
    return frozenset(single).union(*by_role)
