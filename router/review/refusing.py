"""With which HTTP status an attempt at a held request is refused, wherever it came from; 409 for what is not named."""

from __future__ import annotations

REVIEW_STATUS = {
    "review_not_found": 404,
    "self_approval": 403,
    "reviewer_role_missing": 403,
    "not_requester": 403,
    "review_denied": 403,
    "change_denied": 403,
    "reroute_refused": 403,
    "modification_refused": 422,
    "idempotency_key_reused": 422,
    "review_unjudged": 503,
    "review_store_unavailable": 503,
    "review_elsewhere": 503,
    "review_store_closed": 503,
}
