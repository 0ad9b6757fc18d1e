"""What Envoy itself answers, in the words of Lockgate's own problems (RFC 9457). Answers of the door come through as they are."""

from __future__ import annotations

from dataclasses import dataclass

from router.envoy.options import CLUSTER
from router.envoy.values import Json, extension
from router.problems import MEDIA_TYPE, TITLES, TYPE_PREFIX
from router.settings import size_text
from router.workspace import Workspace

DECISION = f"%DYNAMIC_METADATA({CLUSTER}:decision_id)%"


@dataclass(frozen=True, slots=True)
class LocalReply:
    """`when`: an expression of CEL over the response that Envoy would give."""

    when: str
    status: int
    code: str
    detail: str


def local_replies(workspace: Workspace) -> Json:
    return {"mappers": [_mapper(each) for each in replies(workspace)]}


def replies(workspace: Workspace) -> list[LocalReply]:
    view = size_text(workspace.config.gateway.limits.view)
    return [
        LocalReply(
            "response.code_details == 'request_payload_too_large'",
            413,
            "body_too_large",
            f"The body is larger than the {view} that are read.",
        ),
        LocalReply(_details("ext_proc_error", "ext_authz_error"), 503, "door_unavailable", "Lockgate did not answer, so nothing was done."),
        LocalReply("response.code_details == 'direct_response'", 503, "route_missing", "The decision names no route that Envoy has."),
        LocalReply(_flags("UF"), 502, "connect_failed", "The upstream cannot be reached."),
        LocalReply(_flags("UC", "UR"), 502, "upstream_reset", "The connection to the upstream broke off."),
        LocalReply(_flags("UPE"), 502, "upstream_protocol", "The upstream's answer is no valid HTTP."),
        LocalReply(_flags("UT"), 504, "upstream_timeout", "The upstream did not answer in time."),
        LocalReply(_flags("UH"), 503, "no_healthy_upstream", "No upstream is healthy."),
        LocalReply(_flags("UO"), 503, "concurrency_exceeded", "The destination has its most requests under way."),
    ]


def _details(*prefixes: str) -> str:
    return " || ".join(f"response.code_details.startsWith('{prefix}')" for prefix in prefixes)


def _flags(*names: str) -> str:
    """By the numbers of `response.flags`, which are bits."""
    return ",".join(names)


def _mapper(reply: LocalReply) -> Json:
    problem = {
        "type": TYPE_PREFIX + reply.code,
        "title": TITLES.get(reply.code) or reply.code.replace("_", " ").capitalize(),
        "status": reply.status,
        "code": reply.code,
        "detail": reply.detail,
        "decision_id": DECISION,
    }
    return {
        "filter": _filter(reply),
        "status_code": reply.status,
        "body_format_override": {"json_format": problem, "content_type": MEDIA_TYPE},
    }


def _filter(reply: LocalReply) -> Json:
    if "response." not in reply.when:
        return {"response_flag_filter": {"flags": reply.when.split(",")}}
    cel = extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=reply.when,
    )
    return {"extension_filter": cel}
