"""Our part of Envoy's API against its published messages: the same names, numbers and types, and the same bytes on the wire."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.doors.envoy.messages import envoy_pb2 as own
from tests.needs import missing

API = Path(sys.prefix) / "envoy-api"
WHERE = {
    "envoy.config.core.v3.base_pb2": ("HeaderValue", "HeaderMap", "HeaderValueOption", "Metadata"),
    "envoy.config.core.v3.address_pb2": ("SocketAddress", "Address"),
    "envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2": ("ProcessingMode",),
    "envoy.service.ext_proc.v3.external_processor_pb2": (
        "ProtocolConfiguration",
        "HttpHeaders",
        "HttpBody",
        "HttpTrailers",
        "ProcessingRequest",
        "HeaderMutation",
        "StreamedBodyResponse",
        "BodyMutation",
        "CommonResponse",
        "HeadersResponse",
        "BodyResponse",
        "TrailersResponse",
        "GrpcStatus",
        "ImmediateResponse",
        "ProcessingResponse",
    ),
    "envoy.type.v3.http_status_pb2": ("HttpStatus",),
    "envoy.service.auth.v3.attribute_context_pb2": ("AttributeContext",),
    "envoy.service.auth.v3.external_auth_pb2": ("CheckRequest", "CheckResponse", "DeniedHttpResponse", "OkHttpResponse"),
    "google.rpc.status_pb2": ("Status",),
    "envoy.data.accesslog.v3.accesslog_pb2": ("ResponseFlags", "AccessLogCommon", "HTTPResponseProperties", "HTTPAccessLogEntry"),
    "envoy.service.accesslog.v3.als_pb2": ("StreamAccessLogsMessage", "StreamAccessLogsResponse"),
}
PAIRS = [(module, name) for module, names in WHERE.items() for name in names]


@pytest.fixture(scope="module")
def published() -> Iterator[Any]:
    """Loads a published module, from where it is installed apart."""
    if not API.is_dir():
        missing("Envoy's published messages are missing: run `make test`, which installs them apart")
    shadowed = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in ("envoy", "udpa", "xds", "validate")}
    sys.path.insert(0, str(API))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(API))
        sys.modules.update(shadowed)


def test_every_message_is_compared() -> None:
    """None is left out of the table above."""
    assert set(own.DESCRIPTOR.message_types_by_name) == {name for _, name in PAIRS}


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_fields_have_envoys_names_numbers_and_types(published: Any, module: str, name: str) -> None:
    """Each field of ours is one of theirs, in the same one-of; nested messages and enums as well."""
    compare(own.DESCRIPTOR.message_types_by_name[name], getattr(published(module), name).DESCRIPTOR)


def compare(mine: Any, theirs: Any) -> None:
    for field in mine.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.is_repeated) == (other.number, other.is_repeated), field.full_name
        # an enum's number is an int32 on the wire, which is what HTTP's statuses are here
        assert field.type == other.type or (field.type, other.type) == (field.TYPE_INT32, field.TYPE_ENUM), field.full_name
        assert _one_of(field) == _one_of(other), field.full_name
    for enum in mine.enum_types:
        values = theirs.enum_types_by_name[enum.name].values_by_name
        assert all(values[value.name].number == value.number for value in enum.values)
    for nested in mine.nested_types:
        compare(nested, theirs.nested_types_by_name[nested.name])


def _one_of(field: Any) -> str | None:
    return field.containing_oneof.name if field.containing_oneof is not None else None


def test_the_kinds_of_access_log_are_numbered_alike(published: Any) -> None:
    theirs = published("envoy.data.accesslog.v3.accesslog_pb2").AccessLogType
    assert all(theirs.Value(name) == number for name, number in own.AccessLogType.items())


def test_bytes_are_read_alike(published: Any) -> None:
    """What we write is read by the published messages, and written by them to the same bytes."""
    answer = own.ProcessingResponse()
    common = answer.request_body.response
    common.clear_route_cache = True
    common.header_mutation.remove_headers.append("authorization")
    common.header_mutation.set_headers.add(append_action=2).header.raw_value = b"\xff"
    answer.dynamic_metadata["lockgate"] = {"intent": "pay", "confidence": 0.5}
    stop = own.ProcessingResponse(immediate_response=own.ImmediateResponse(status=own.HttpStatus(code=403), body=b"{}", details="why"))
    for message in (answer, stop):
        written = message.SerializeToString(deterministic=True)
        theirs = published("envoy.service.ext_proc.v3.external_processor_pb2").ProcessingResponse.FromString(written)
        assert theirs.SerializeToString(deterministic=True) == written
