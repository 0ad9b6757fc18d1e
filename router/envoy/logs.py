"""Envoy's access logs: one for Lockgate, which learns from it how responses went, and one for people."""

from __future__ import annotations

from router.envoy.door import grpc_service
from router.envoy.options import CLUSTER, Options, door_of
from router.envoy.values import Json, extension
from router.workspace import Workspace

DECIDED = ("decision_id", "intent", "risk", "effect", "reasons", "stopped")


def access_logs(workspace: Workspace, options: Options) -> list[Json]:
    lockgate = [_for_lockgate(options.namespace)] if door_of(workspace).access_log else []
    return [*lockgate, _for_people(options.namespace)]


def _for_lockgate(namespace: str) -> Json:
    """What has no decision is of no use to anybody who waits for the end of one."""
    decided = {"filter": namespace, "path": [{"key": "decision_id"}], "value": {"present_match": True}}
    return {
        "name": "envoy.access_loggers.http_grpc",
        "filter": {"metadata_filter": {"matcher": decided, "match_if_key_not_found": False}},
        **_typed_log(),
    }


def _typed_log() -> Json:
    made = extension(
        "envoy.access_loggers.http_grpc",
        "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": CLUSTER,
            "transport_api_version": "V3",
            "grpc_service": grpc_service(),
            "buffer_flush_interval": "1s",
            # Else what was gathered is lost where one that is tried has just gone; which is tried next may be one that has gone, too.
            "grpc_stream_retry_policy": {"num_retries": 10},
        },
    )
    return {"typed_config": made["typed_config"]}


def _for_people(namespace: str) -> Json:
    decided = {name: f"%DYNAMIC_METADATA({namespace}:{name})%" for name in DECIDED}
    line = {
        "time": "%START_TIME%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "route": "%ROUTE_NAME%",
        **decided,
        "upstream": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
    }
    return extension(
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": line},
    )
