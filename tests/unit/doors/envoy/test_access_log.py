"""Envoy's access log as an outcome's report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from router.doors.envoy.access_log import FAILURES, AccessLog, report
from router.doors.envoy.framing import StatusError
from router.doors.envoy.messages.envoy_pb2 import (
    AccessLogCommon,
    HTTPAccessLogEntry,
    HTTPResponseProperties,
    ResponseFlags,
    StreamAccessLogsMessage,
)


def entry(
    status: int = 200, upstream: str = "192.0.2.9", namespace: str = "lockgate", details: str = "", **flags: bool
) -> HTTPAccessLogEntry:
    common = AccessLogCommon(response_flags=ResponseFlags(**flags), upstream_request_attempt_count=2)
    common.metadata.filter_metadata[namespace]["decision_id"] = "id"
    common.duration.FromNanoseconds(5_000_000)
    if upstream:
        common.upstream_remote_address.socket_address.address = upstream
        common.upstream_remote_address.socket_address.port_value = 80
    response = HTTPResponseProperties(response_code_details=details, response_body_bytes=7)
    response.response_code.value = status
    return HTTPAccessLogEntry(common_properties=common, response=response)


def test_a_response_that_went_whole() -> None:
    found = report(entry())
    assert found is not None
    assert (found.decision_id, found.status, found.reason, found.routed) == ("id", 200, "", True)
    assert (found.upstream, found.attempts, found.total_ns, found.response_bytes) == ("192.0.2.9:80", 2, 5_000_000, 7)


@pytest.mark.parametrize("namespace", ["lockgate", "envoy.filters.http.ext_authz"])
def test_both_filters_leave_the_decision_where_it_is_found(namespace: str) -> None:
    assert report(entry(namespace=namespace)) is not None


def test_requests_that_nobody_decided_are_no_report() -> None:
    assert report(entry(namespace="other")) is None


def test_a_decision_after_which_nothing_went_on_is_no_report() -> None:
    """It has its outcome, and nobody waits for another: every worker would be told of each request that is refused."""
    made = entry(status=403, upstream="")
    made.common_properties.metadata.filter_metadata["lockgate"]["stopped"] = "rbac.no_grant"
    assert report(made) is None


@pytest.mark.parametrize(("flag", "reason"), FAILURES.items())
def test_each_flag_has_its_reason(flag: str, reason: str) -> None:
    found = report(entry(status=503, **{flag: True}))
    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize("flag", ["no_route_found", "no_cluster_found"])
def test_a_decision_that_envoy_has_no_way_for_failed(flag: str) -> None:
    """Its table is older than the catalog: the request was decided and went nowhere."""
    found = report(entry(status=404, upstream="", **{flag: True}))
    assert found is not None
    assert (found.routed, found.reason) == (False, "envoy_no_route")


def test_an_answer_of_envoys_own_is_no_answer_of_the_upstream() -> None:
    local, late = report(entry(status=404, upstream="")), report(entry(status=504, upstream="", details="ext_proc_error_timeout"))
    assert local is not None
    assert late is not None
    assert (local.reason, late.reason) == ("envoy_local_reply", "envoy_processor_failed")


def test_an_upstream_without_an_address_of_the_network_has_answered() -> None:
    """One that is reached over a socket of this machine, say."""
    made = entry(upstream="", details="via_upstream")
    made.common_properties.upstream_remote_address.SetInParent()
    found = report(made)
    assert found is not None
    assert (found.routed, found.reason, found.upstream) == (True, "", "")


def test_an_answer_that_envoy_gave_in_an_upstreams_place_is_not_the_upstreams() -> None:
    """Such as a 500 for a response that a later filter could not hold."""
    found = report(entry(status=500, details="response_payload_too_large"))
    assert found is not None
    assert (found.routed, found.reason) == (False, "envoy_local_reply")


CLOSED = "upstream_reset_after_response_started{connection_termination}"


def test_a_websocket_that_its_service_ends_went_whole() -> None:
    """A service closes the connection first (RFC 6455 section 7.1.1), which Envoy takes for one that broke; so does our own gateway say."""
    found = report(entry(status=101, details=CLOSED, upstream_connection_termination=True))
    assert found is not None
    assert (found.routed, found.reason) == (True, "")


@pytest.mark.parametrize(
    ("status", "details", "more", "reason"),
    [
        (200, CLOSED, (), "upstream_reset"),
        (101, CLOSED, ("downstream_connection_termination",), "client_gone"),
        (101, CLOSED, ("upstream_remote_reset",), "upstream_reset"),
        (101, CLOSED, ("stream_idle_timeout",), "upstream_idle"),
        (101, CLOSED.replace("}", "|TLS_error:_decryption_failed}"), (), "upstream_reset"),
    ],
)
def test_whatever_else_ends_a_connection_is_a_failure(status: int, details: str, more: tuple[str, ...], reason: str) -> None:
    found = report(entry(status=status, details=details, upstream_connection_termination=True, **dict.fromkeys(more, True)))
    assert found is not None
    assert (found.routed, found.reason) == (False, reason)


def test_every_flag_that_says_of_a_failure_is_known() -> None:
    """Those left out say nothing of how a request ended, or belong to filters that answer before a decision."""
    silent = {"failed_local_healthcheck", "delay_injected", "rate_limit_service_error", "invalid_envoy_request_headers"}
    assert {field.name for field in ResponseFlags.DESCRIPTOR.fields} == set(FAILURES) | silent


@pytest.mark.parametrize(
    ("said", "node"), [("0123456789abcdef", "0123456789abcdef"), ("a\0b", ""), ("A" * 16, ""), ("0" * 17, ""), ("", "")]
)
def test_only_what_nodes_are_called_is_a_node(said: str, node: str) -> None:
    """What anybody writes into the metadata must not keep others' reports from their nodes."""
    made = entry()
    made.common_properties.metadata.filter_metadata["lockgate"]["node"] = said
    found = report(made)
    assert found is not None
    assert found.node == node


async def test_a_log_that_cannot_be_read_is_told_to_who_sends_it() -> None:
    """With its status; what came before it was heard."""

    async def messages() -> AsyncIterator[StreamAccessLogsMessage]:
        yield StreamAccessLogsMessage()
        raise StatusError(8, "a message is longer than 1000 bytes")

    with pytest.raises(StatusError, match="longer than 1000"):
        await AccessLog(cast(Any, None), None).stream(messages(), None)
