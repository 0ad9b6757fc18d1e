"""What roles and scopes there are. `router.control.permissions` says what each gives; a test holds the two to each other."""

from __future__ import annotations

from typing import Literal

Role = Literal[
    "viewer",
    "operator",
    "policy_author",
    "policy_approver",
    "reviewer",
    "review_lead",
    "auditor",
    "privacy_officer",
    "legal_officer",
    "admin",
]

# Nobody decides for somebody else by a certificate (`delegate`): a proxy's would do for all of its callers.
CertificateScope = Literal[
    "gateway",
    "decide",
    "control",
    "control:self",
    "control:metrics.read",
    "control:config.read",
    "control:config.reload",
    "control:nodes.drain",
    "control:audit.read",
    "control:audit.personal",
    "control:evidence.write",
    "control:audit.erase",
    "control:audit.hold",
    "control:audit.prune",
    "control:reviews.read",
    "control:reviews.follow",
    "control:reviews.decide",
    "control:reviews.answer",
    "control:deliveries.read",
    "control:deliveries.write",
    "control:policy.read",
    "control:policy.propose",
    "control:policy.approve",
    "control:policy.rollback",
    "control:policy.try",
    "control:feedback.write",
    "control:labels.write",
    "control:labels.seed",
    "control:reviewers.read",
    "control:proposals.read",
    "control:proposals.propose",
    "control:proposals.approve",
    "control:keys.read",
    "control:keys.write",
    "control:sessions.read",
    "control:sessions.write",
]
