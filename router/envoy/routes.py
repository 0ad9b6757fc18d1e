"""The route table: what the door decided is a header field, and every value of it is a way to a destination. Without it there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.catalog import Match, Rule
from router.envoy.destinations import PREFIX, Sending, sendings
from router.envoy.door import asked_by_route, keeps_answers
from router.envoy.options import CLUSTER, DESTINATION, ROUTE, Options
from router.envoy.values import Json, seconds, typed
from router.workspace import Workspace

IDEMPOTENT = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE"  # RFC 9110 §9.2.2
EVENT_STREAM = "text/event-stream"
RETRIED = {"connect": "connect-failure", "reset": "reset"}
SURE = "reset-before-request"  # instead of `reset` for a request that must not be sent twice: none of it was sent
SOCKET_IDLE_S = 3600.0
NOWHERE = "nowhere"


def route_configuration(workspace: Workspace, options: Options) -> Json:
    host = {"name": CLUSTER, "domains": ["*"], "routes": list(routes(workspace, options))}
    return {"name": CLUSTER, "virtual_hosts": [host], "validate_clusters": True}


def routes(workspace: Workspace, options: Options) -> Iterator[Json]:
    sockets = has_sockets(workspace)
    for sending in sendings(workspace):
        yield from _ways(sending, sockets)
    whole, unread = asked_by_route(options, unread=False, kept=keeps_answers(workspace)), asked_by_route(options, unread=True, kept=False)
    for name, match, read in _before_decision(workspace):
        yield _nowhere(name, match, whole if read else unread)
    yield _nowhere(NOWHERE, {"prefix": "/"}, whole)


def has_sockets(workspace: Workspace) -> bool:
    return any(route.websocket for route in workspace.catalog.routes.values())


def _ways(sending: Sending, sockets: bool) -> Iterator[Json]:
    """One route in several entries, where it depends on the request what Envoy may do."""
    no_socket = [{"name": "upgrade", "present_match": False}] if sockets else []
    if sending.route.websocket:
        upgraded = {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}
        yield _way(sending, "websocket", [upgraded], _socket_action(sending))
    if sending.total is not None:
        events = {"name": "accept", "string_match": {"contains": EVENT_STREAM, "ignore_case": True}}
        yield _way(sending, "event-stream", [events, *no_socket], _action(sending, total=None, repeatable=sending.route.deduplicates))
    whole, sure = (retry_policy(sending, repeatable=each) for each in (True, False))
    if sending.route.deduplicates or whole == sure:
        yield _way(sending, "", no_socket, _action(sending, total=sending.total, repeatable=True))
        return
    methods = {"name": ":method", "string_match": {"safe_regex": {"regex": IDEMPOTENT}}}
    yield _way(sending, "idempotent", [methods, *no_socket], _action(sending, total=sending.total, repeatable=True))
    yield _way(sending, "", no_socket, _action(sending, total=sending.total, repeatable=False))


def _way(sending: Sending, suffix: str, more: list[Json], action: Json) -> Json:
    chosen = [{"name": ROUTE, "string_match": {"exact": sending.name}}]
    if sending.chosen:
        chosen.append({"name": DESTINATION, "string_match": {"exact": sending.destination}})
    name = " ".join(part for part in (sending.name, sending.destination if sending.chosen else "", suffix) if part)
    return {"name": name, "match": {"prefix": "/", "headers": [*chosen, *more]}, "route": action}


def _action(sending: Sending, *, total: float | None, repeatable: bool) -> Json:
    return {
        "cluster": sending.cluster,
        "auto_host_rewrite": True,
        "append_x_forwarded_host": True,
        "timeout": seconds(total or 0),
        "idle_timeout": seconds(sending.idle or 0),
        "retry_policy": retry_policy(sending, repeatable=repeatable),
        **_hashed(sending),
        **_copies(sending),
    }


def _hashed(sending: Sending) -> Json:
    """By what its requests go to the same upstream each: a path without its query, or a field, as it is once it was decided about."""
    if sending.settings.balance != "hash":
        return {}
    field = sending.settings.hashed_header
    without_query = {"pattern": {"regex": r"^([^?]*).*$"}, "substitution": r"\1"}
    header = {"header_name": ":path", "regex_rewrite": without_query} if field is None else {"header_name": field}
    return {"hash_policy": [{"header": header}]}


def _copies(sending: Sending) -> Json:
    """As they leave: with what was decided, and without the caller's credential."""
    if (mirror := sending.route.mirror) is None:
        return {}
    share = {"default_value": {"numerator": round(mirror.share * 10_000), "denominator": "TEN_THOUSAND"}}
    policy = {"cluster": PREFIX + mirror.destination, "runtime_fraction": share, "disable_shadow_host_suffix_append": True}
    return {"request_mirror_policies": [policy]}


def _socket_action(sending: Sending) -> Json:
    """An open WebSocket has no total time, and may be silent for long."""
    return {
        "cluster": sending.cluster,
        "auto_host_rewrite": True,
        "append_x_forwarded_host": True,
        "timeout": "0s",
        "idle_timeout": seconds(SOCKET_IDLE_S),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        **_hashed(sending),
    }


def retry_policy(sending: Sending, *, repeatable: bool) -> Json:
    """A request that is not `repeatable` is sent again only where none of it was sent."""
    retries = sending.settings.retries
    named = [RETRIED[cause] if repeatable or cause == "connect" else SURE for cause in retries.on if cause in RETRIED]
    statuses = [int(cause) for cause in retries.on if cause.isdigit()] if repeatable else []
    policy: Json = {}
    if retries.attempts > 1 and (named or statuses):
        policy["retry_on"] = ",".join([*named, *(["retriable-status-codes"] if statuses else [])])
        policy["num_retries"] = retries.attempts - 1
        if statuses:
            policy["retriable_status_codes"] = statuses
        policy["retry_back_off"] = {"base_interval": seconds(retries.backoff), "max_interval": seconds(retries.max_backoff)}
        policy["retry_host_predicate"] = [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ]
        policy["host_selection_retry_max_attempts"] = 3
    if sending.idle is not None:
        policy["per_try_idle_timeout"] = seconds(sending.idle)
    return policy


def _before_decision(workspace: Workspace) -> Iterator[tuple[str, Json, bool]]:
    """Which requests are asked about without their body. Nobody can say so later: `ext_authz` asks once, and `ext_proc` has by then begun
    to hold what arrives. What an earlier rule takes, or looks into, is not among them: that has an entry of its own before."""
    yield "unread grpc", {"prefix": "/", "headers": [{"name": "content-type", "string_match": {"prefix": "application/grpc"}}]}, False
    waiting: list[Rule] = []
    for rule in workspace.catalog.rules:
        route = workspace.catalog.routes.get(_route_of(workspace, rule))
        if route is None or not route.stream or rule.match.values or rule.match.regex:
            waiting.append(rule)
            continue
        for earlier in [each for each in waiting if overlap(each.match, rule.match)]:
            waiting.remove(earlier)
            yield f"read {earlier.name}", _matching(earlier.match, most=True), True
        yield f"unread {rule.name}", _matching(rule.match), False


def _route_of(workspace: Workspace, rule: Rule) -> str:
    intent = workspace.catalog.intents.get(rule.intent or "")
    return rule.route or (intent.route if intent is not None else "")


def _matching(match: Match, *, most: bool = False) -> Json:
    """By its head. `most`: every path that the rule takes, also with strokes at the end; else those for certain."""
    headers: list[Json] = [{"name": name, "string_match": {"exact": value}} for name, value in match.header.items()]
    if match.method:
        headers.append({"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(match.method)}}})
    made: Json = {"prefix": "/"} if match.path is None else {"safe_regex": {"regex": path_regex(match.path, most=most)}}
    return {**made, "headers": headers} if headers else made


def path_regex(template: str, *, most: bool = False) -> str:
    made = ""
    for part in template[1:].split("/"):
        if part.endswith("...}"):
            return made + ("(/.*)?" if most else "/.*")
        made += "/" + ("[^/]+" if part.startswith("{") else re.escape(part))
    return made + ("/*" if most else "")


def overlap(one: Match, other: Match) -> bool:
    """Whether a request may have the method, path and fields of both."""
    if one.method and other.method and not set(one.method) & set(other.method):
        return False
    if any(other.header.get(name, value) != value for name, value in one.header.items()):
        return False
    return one.path is None or other.path is None or _paths_overlap(one.path, other.path)


def _paths_overlap(one: str, other: str) -> bool:
    left, right = (path.strip("/").split("/") for path in (one, other))
    for first, second in zip(left, right, strict=False):
        if first.endswith("...}") or second.endswith("...}"):
            return True
        if first != second and not (first.startswith("{") or second.startswith("{")):
            return False
    both = min(len(left), len(right))
    longer = left[both:] or right[both:]
    return not longer or longer[0].endswith("...}")  # which may be nothing


def _nowhere(name: str, match: Json, asked: Json) -> Json:
    """Where a request is that nobody decided about yet, and where it ends when nobody does."""
    made: Json = {"name": name, "match": match, "direct_response": {"status": 503}}
    return {**made, "typed_per_filter_config": asked} if asked else made
