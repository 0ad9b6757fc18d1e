"""What both listeners serve."""

from __future__ import annotations

PROCESSOR, AUTHORIZATION = "envoy.service.ext_proc.v3.ExternalProcessor", "envoy.service.auth.v3.Authorization"
ACCESS_LOG = "envoy.service.accesslog.v3.AccessLogService"
SERVICES = ("", PROCESSOR, AUTHORIZATION)
LOOK_S = 0.05
FRAME = 1 << 20  # of headers and framing around a body
