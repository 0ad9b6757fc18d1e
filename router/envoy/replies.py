"""What Envoy itself answers, in the words of Lockgate's own problems (RFC 9457). Answers of the door come through as they are."""

from __future__ import annotations

from dataclasses import dataclass

from router.envoy.options import Options
from router.envoy.values import Json, extension
from router.problems import MEDIA_TYPE, TITLES, TYPE_PREFIX
from router.settings import size_text
from router.workspace import Workspace

UNANSWERED = ("ext_proc_error", "ext_authz_error", "spurious_message")


@dataclass(frozen=True, slots=True)
class LocalReply:
    """`when`: an expression of CEL over the response that Envoy would give, or any of its response flags."""

    when: str | tuple[str, ...]
    status: int
    code: str
    detail: str


def local_replies(workspace: Workspace, options: Options) -> Json:
    decision = f"%DYNAMIC_METADATA({options.namespace}:decision_id)%"
    return {"mappers": [_mapper(each, decision) for each in replies(workspace)]}


def replies(workspace: Workspace) -> list[LocalReply]:
    """The first that is true holds."""
    view = size_text(workspace.config.gateway.limits.view)
    return [
        LocalReply(_details("request_payload_too_large"), 413, "body_too_large", f"The body is larger than the {view} that are read."),
        LocalReply(
            _begins("ext_proc_error", "ext_authz_error", "spurious_message"),
            503,
            "door_unavailable",
            "Lockgate did not answer, so nothing was done.",
        ),
        LocalReply(_details("direct_response"), 503, "route_missing", "The decision names no route that Envoy has."),
        LocalReply(_details("path_normalization_failed"), 400, "ambiguous_path", "The path has an encoded slash or is not valid."),
        LocalReply(_details("missing_host_header"), 400, "host_missing", "The request has no Host header."),
        LocalReply(_details("http1.too_many_headers", "http2.too_many_headers"), 431, "too_many_headers", "There are too many headers."),
        LocalReply(_details("http1.headers_too_large"), 431, "header_too_large", "The headers are too large."),
        LocalReply(_details("http1.invalid_transfer_encoding"), 501, "transfer_coding_unknown", "Only chunked is understood here."),
        LocalReply(_begins("http1.", "http2."), 400, "malformed_request", "The request is not well-formed HTTP."),
        LocalReply(_details("request_overall_timeout"), 408, "body_timeout", "The body did not arrive in time."),
        # Of the two that watch for silence, the router and the stream, either may be the first.
        LocalReply(_silence(408), 408, "body_timeout", "The body did not arrive in time."),
        LocalReply(_silence(504), 504, "upstream_timeout", "The upstream did not answer in time."),
        LocalReply(("UF",), 502, "connect_failed", "The upstream cannot be reached."),
        LocalReply(("UC", "UR"), 502, "upstream_reset", "The connection to the upstream broke off."),
        LocalReply(("UPE",), 502, "upstream_protocol", "The upstream's answer is no valid HTTP."),
        LocalReply(("UT",), 504, "upstream_timeout", "The upstream did not answer in time."),
        LocalReply(("UH",), 503, "no_healthy_upstream", "No upstream is healthy."),
        LocalReply(("UO",), 503, "concurrency_exceeded", "The destination has its most requests under way."),
    ]


def _details(*whole: str) -> str:
    return " || ".join(f"response.code_details == '{each}'" for each in whole)


def _silence(status: int) -> str:
    """504 where all of the request had come."""
    return f"{_details('stream_idle_timeout')} && response.code == {status}"


def _begins(*prefixes: str) -> str:
    return " || ".join(f"response.code_details.startsWith('{prefix}')" for prefix in prefixes)


def _mapper(reply: LocalReply, decision: str) -> Json:
    problem = {
        "type": TYPE_PREFIX + reply.code,
        "title": TITLES.get(reply.code) or reply.code.replace("_", " ").capitalize(),
        "status": reply.status,
        "code": reply.code,
        "detail": reply.detail,
        "decision_id": decision,
    }
    return {
        "filter": _filter(reply),
        "status_code": reply.status,
        "body_format_override": {"json_format": problem, "content_type": MEDIA_TYPE},
    }


def _filter(reply: LocalReply) -> Json:
    if not isinstance(reply.when, str):
        return {"response_flag_filter": {"flags": list(reply.when)}}
    cel = extension(
        "envoy.access_loggers.extension_filters.cel",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=reply.when,
    )
    return {"extension_filter": cel}
