"""What was decided, in Envoy's messages."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.struct_pb2 import Struct

from router.decision import Decision
from router.doors.envoy.changes import Changes
from router.doors.envoy.judging import Stop
from router.doors.envoy.messages.envoy_pb2 import (
    BodyMutation,
    CheckResponse,
    CommonResponse,
    DeniedHttpResponse,
    GrpcStatus,
    HeaderMutation,
    HeaderValue,
    HeaderValueOption,
    HttpStatus,
    ImmediateResponse,
    OkHttpResponse,
    ProcessingResponse,
)
from router.ports import Headers

NAMESPACE = "lockgate"
# How gRPC clients read an HTTP status: the mapping of gRPC's own documentation, with what is ours to say more exactly.
GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 409: 10, 413: 8, 422: 3, 429: 8, 499: 1, 501: 12, 502: 14, 503: 14, 504: 14}
UNKNOWN = 2
NOT_YET = 9  # held for a reviewer: a call cannot wait for that
_SET, _ADD = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


def common(changes: Changes, *, streamed: bool = False) -> CommonResponse:
    """The request may go on, changed; its route is looked for again. `streamed`: its body follows in answers of its own."""
    options = _options(changes.set)
    answer = CommonResponse(clear_route_cache=True)
    if changes.body is not None:
        if not streamed:
            answer.body_mutation.CopyFrom(BodyMutation(body=changes.body))
        options.append(_option(b"content-length", b"%d" % len(changes.body), _SET))
    answer.header_mutation.CopyFrom(HeaderMutation(set_headers=options, remove_headers=[name.decode("latin-1") for name in changes.remove]))
    return answer


def immediate(stop: Stop, *, grpc: bool) -> ProcessingResponse:
    """The caller is answered by Envoy, in our words. `details` are what Envoy's access log says of why."""
    answer = ImmediateResponse(
        status=HttpStatus(code=stop.status),
        headers=HeaderMutation(set_headers=_options(stop.headers)),
        body=stop.body,
        details=f"lockgate_{stop.code}",
    )
    if grpc:
        answer.grpc_status.CopyFrom(GrpcStatus(status=grpc_status(stop.status)))
    response = ProcessingResponse(immediate_response=answer)
    response.dynamic_metadata.CopyFrom(stopped_metadata(stop))
    return response


def denied(stop: Stop) -> CheckResponse:
    response = CheckResponse()
    response.status.code = grpc_status(stop.status) or UNKNOWN
    response.status.message = stop.code
    status = HttpStatus(code=stop.status)
    response.denied_response.CopyFrom(DeniedHttpResponse(status=status, headers=_texts(stop.headers), body=stop.body.decode()))
    response.dynamic_metadata.CopyFrom(stopped_metadata(stop).fields[NAMESPACE].struct_value)
    return response


def allowed(changes: Changes, decision: Decision) -> CheckResponse:
    response = CheckResponse()
    response.status.code = 0
    answer = OkHttpResponse(headers=_texts(changes.set), headers_to_remove=[name.decode("latin-1") for name in changes.remove])
    answer.response_headers_to_add.extend(_texts([(b"x-lockgate-decision-id", decision.id.encode())]))
    response.ok_response.CopyFrom(answer)
    response.dynamic_metadata.CopyFrom(metadata(decision).fields[NAMESPACE].struct_value)
    return response


def metadata(decision: Decision) -> Struct:
    """For Envoy's access logs, rate limits and later filters, under the namespace `lockgate`."""
    classification, verdict = decision.classification, decision.verdict
    struct = Struct()
    own = struct.fields[NAMESPACE].struct_value.fields
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
    reasons = own["reasons"].list_value.values
    for reason in verdict.reasons:
        reasons.add().string_value = reason.code
    return struct


def stopped_metadata(stop: Stop) -> Struct:
    struct = Struct()
    own = struct.fields[NAMESPACE].struct_value.fields
    own["stopped"].string_value = stop.code
    if stop.decision_id:
        own["decision_id"].string_value = stop.decision_id
    return struct


def response_headers(decision: Decision, upstream: Iterable[bytes]) -> HeaderMutation:
    """An upstream cannot speak in our name. `upstream`: names of the fields that it sent."""
    return HeaderMutation(
        set_headers=[_option(b"x-lockgate-decision-id", decision.id.encode(), _SET)],
        remove_headers=[name.decode("latin-1") for name in upstream if name.startswith(b"x-lockgate-")],
    )


def grpc_status(status: int) -> int:
    return NOT_YET if status == 202 else GRPC_STATUS.get(status, UNKNOWN)


def _options(headers: Headers) -> list[HeaderValueOption]:
    """The first of a name replaces what is there, others of the same name follow it."""
    seen: set[bytes] = set()
    made = []
    for name, value in headers:
        made.append(_option(name, value, _ADD if name in seen else _SET))
        seen.add(name)
    return made


def _texts(headers: Headers) -> list[HeaderValueOption]:
    """The same for `ext_authz`, which reads values as text only."""
    made = _options(headers)
    for each in made:
        each.header.value = each.header.raw_value.decode("latin-1")
        each.header.ClearField("raw_value")
    return made


def _option(name: bytes, value: bytes, action: HeaderValueOption.HeaderAppendAction) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name.decode("latin-1"), raw_value=value), append_action=action)
