"""What was decided, in Envoy's messages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.struct_pb2 import Struct

from router.decision import Decision
from router.doors.envoy.cases import Stop
from router.doors.envoy.changes import Changes
from router.doors.envoy.messages.envoy_pb2 import CheckResponse, CommonResponse, HeaderMutation, HeaderValueOption, ProcessingResponse
from router.ports import Headers

Options = RepeatedCompositeFieldContainer[HeaderValueOption]
NAMESPACE = "lockgate"
# How gRPC clients read an HTTP status: the mapping of gRPC's own documentation, with what is ours to say more exactly.
GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 409: 10, 413: 8, 422: 3, 429: 8, 499: 1, 501: 12, 502: 14, 503: 14, 504: 14}
UNKNOWN = 2
NOT_YET = 9  # held for a reviewer: a call cannot wait for that
_SET = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def go_on(answer: CommonResponse, changes: Changes, *, streamed: bool = False) -> None:
    """Fills in that the request may go on, changed; its route is looked for again. `streamed`: its body follows in answers of its own."""
    answer.clear_route_cache = True
    mutation = answer.header_mutation
    _set(mutation.set_headers, changes.set)
    mutation.remove_headers.extend(map(_name, changes.remove))
    if changes.body is not None:
        if not streamed:
            answer.body_mutation.body = changes.body
        _set(mutation.set_headers, [(b"content-length", b"%d" % len(changes.body))])


def immediate(stop: Stop, *, grpc: bool) -> ProcessingResponse:
    """The caller is answered by Envoy, in our words. `details` are what Envoy's access log says of why."""
    response = ProcessingResponse()
    answer = response.immediate_response
    answer.status.code = stop.status
    answer.body = stop.body
    answer.details = f"lockgate_{stop.code}"
    _set(answer.headers.set_headers, stop.headers)
    if grpc:
        answer.grpc_status.status = grpc_status(stop.status)
    stopped(response.dynamic_metadata.fields[NAMESPACE].struct_value, stop)
    return response


def denied(stop: Stop) -> CheckResponse:
    """Raises UnicodeDecodeError: the body is no text, and this protocol has nothing else."""
    response = CheckResponse()
    response.status.code = grpc_status(stop.status) or UNKNOWN
    response.status.message = stop.code
    answer = response.denied_response
    answer.status.code = stop.status
    answer.body = stop.body.decode()
    _set_texts(answer.headers, stop.headers)
    for option in answer.headers:  # here those that replace are all told, and those that follow dropped
        option.ClearField("append")
        option.append_action = _SET
    stopped(response.dynamic_metadata, stop)
    return response


def allowed(changes: Changes, decision: Decision, node: str) -> CheckResponse:
    response = CheckResponse()
    response.status.code = 0
    answer = response.ok_response
    _set_texts(answer.headers, changes.set)
    answer.headers_to_remove.extend(map(_name, changes.remove))
    _set_texts(answer.response_headers_to_add, [(b"x-lockgate-decision-id", decision.id.encode())])
    metadata(response.dynamic_metadata, decision, node)
    return response


def metadata(struct: Struct, decision: Decision, node: str) -> None:
    """For Envoy's access logs, rate limits and later filters. `node`: the one that decided, by which the access log's report finds it."""
    classification, verdict = decision.classification, decision.verdict
    own = struct.fields
    own["decision_id"].string_value = decision.id
    own["risk"].string_value = decision.risk.level.value
    own["status"].string_value = classification.status.value
    own["effect"].string_value = verdict.effect.value
    if classification.intent is not None:
        own["intent"].string_value = classification.intent
    if classification.confidence is not None:
        own["confidence"].number_value = classification.confidence
    if decision.route is not None:
        own["route"].string_value = decision.route.name
    if decision.request.subject.tenant is not None:
        own["tenant"].string_value = decision.request.subject.tenant
    if node:
        own["node"].string_value = node
    reasons = own["reasons"].list_value.values
    for reason in verdict.reasons:
        reasons.add().string_value = reason.code


def stopped(struct: Struct, stop: Stop) -> None:
    struct.fields["stopped"].string_value = stop.code
    if stop.decision_id:
        struct.fields["decision_id"].string_value = stop.decision_id


def response_headers(mutation: HeaderMutation, decision: Decision, forged: Iterable[str]) -> None:
    """An upstream cannot speak in our name. `forged`: names of the fields in which it did."""
    _set(mutation.set_headers, [(b"x-lockgate-decision-id", decision.id.encode())])
    mutation.remove_headers.extend(forged)


def grpc_status(status: int) -> int:
    return NOT_YET if status == 202 else GRPC_STATUS.get(status, UNKNOWN)


def _set(options: Options, headers: Headers) -> None:
    """The first of a name replaces what is there, others of the same name follow it, wherever they stand."""
    seen: set[bytes] = set()
    for name, value in headers:
        option = options.add()
        folded = name.lower()
        if folded in seen:
            option.append.value = True  # ext_proc takes an `append_action` that is 0 for none
        else:
            option.append_action = _SET
            seen.add(folded)
        header = option.header
        header.key = _name(name)
        header.raw_value = value


def _set_texts(options: Options, headers: Headers) -> None:
    """The same for `ext_authz`, which reads values as text only."""
    _set(options, headers)
    for option in options:
        option.header.value = option.header.raw_value.decode("latin-1")
        option.header.ClearField("raw_value")


@lru_cache(maxsize=1024)
def _name(name: bytes) -> str:
    return name.decode("latin-1")
