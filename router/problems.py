"""RFC 9457 problem bodies: what every front door and the control API answer when they refuse or fail."""

from __future__ import annotations

from typing import Any

import orjson

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lockgate:problem:"

# Titles say the kind of problem and never vary with the request (RFC 9457 §3.1.3); `detail` says what happened this time.
TITLES = {
    "algorithm_refused": "The token's signature algorithm is not accepted",
    "ambiguous": "The request could mean more than one thing",
    "anonymous_refused": "A credential is required",
    "audience_mismatch": "The token is meant for somebody else",
    "audit_unavailable": "The audit trail cannot be written",
    "body_too_large": "The request body is too large",
    "claims_invalid": "The token's claims cannot be used",
    "classifier_unavailable": "The request could not be classified",
    "checkpoint_missing": "No checkpoint has been signed yet",
    "config_invalid": "The configuration cannot be used",
    "content_changed": "The held request is not the one that was reviewed",
    "credential_expired": "The API key has expired",
    "credential_malformed": "The credential is malformed",
    "credential_missing": "A credential is required",
    "credential_revoked": "The API key was revoked",
    "credential_unknown": "The credential is not known",
    "cross_site_refused": "Requests from other sites are refused",
    "decision_unknown": "There is no record of that decision",
    "denied": "The request was denied",
    "evidence_conflict": "Another event was sent under the same source and id",
    "evidence_invalid": "The event is not valid",
    "evidence_media_type": "Events are not taken in this form",
    "host_refused": "The Host header is not accepted",
    "internal": "Something went wrong inside Lockgate",
    "issuer_unknown": "The token's issuer is not trusted here",
    "key_unknown": "The token's signing key is not known",
    "keys_unavailable": "The issuer's signing keys are not available",
    "limits_unavailable": "Requests cannot be counted now",
    "margin_too_small": "The request could mean more than one thing",
    "method_not_allowed": "The method is not allowed here",
    "negated": "The request says what is not to be done",
    "not_found": "There is nothing here",
    "out_of_scope": "The request is not one that is served here",
    "overloaded": "Lockgate is busy",
    "permission_missing": "The key may not do this",
    "policy_busy": "Policies of others are being tried",
    "policy_error": "The policy gave no usable answer",
    "policy_media_type": "Policies are not taken in this form",
    "policy_trial_ended": "The trial of the policies was ended",
    "policy_unusable": "The policies that were sent cannot be used",
    "privilege_escalation": "A key cannot give more than it has",
    "rate_limited": "Too many requests",
    "replay_too_large": "Too many decisions would be replayed",
    "request_invalid": "The request is not valid",
    "review_not_found": "There is no such held request",
    "review_store_unavailable": "The review store is not available",
    "scope_missing": "The key is not meant for this door",
    "self_approval": "Nobody may approve their own request",
    "several_intents": "The request asks for more than one thing",
    "several_plausible": "The request could mean more than one thing",
    "signature_invalid": "The token's signature is wrong",
    "state_unavailable": "Shared state is not available",
    "token_expired": "The token has expired",
    "token_not_yet_valid": "The token is not valid yet",
    "two_credentials": "More than one credential was sent",
    "undetermined": "The request could not be judged",
    "upstream_error": "The upstream gave no usable response",
}

# Codes that policy authors make up have no title of their own.
KINDS = {202: "The request is held for a reviewer", 403: "The request was denied", 404: "There is nothing here"}


def problem(status: int, code: str, title: str | None = None, detail: str = "", decision_id: str | None = None, **extra: Any) -> bytes:
    """The body of an `application/problem+json` response; without a title the code's own is used, or its status's."""
    body: dict[str, Any] = {
        **extra,
        "type": TYPE_PREFIX + code,
        "title": title or TITLES.get(code) or KINDS.get(status) or code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
    }
    if detail:
        body["detail"] = detail
    if decision_id is not None:
        body["decision_id"] = decision_id
    return orjson.dumps(body)
