"""A real Envoy on free ports of this machine, with whatever configuration a test is about."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.needs import needs

HOW = "`make extras` installs what the tests of optional parts need"
READY_S = 20.0
# The messages that may stand in an `Any`; one that is missing here is told by its name.
MODULES = (
    "envoy.config.bootstrap.v3.bootstrap_pb2",
    "envoy.extensions.access_loggers.filters.cel.v3.cel_pb2",
    "envoy.extensions.access_loggers.grpc.v3.als_pb2",
    "envoy.extensions.access_loggers.stream.v3.stream_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2",
    "envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.http.original_ip_detection.xff.v3.xff_pb2",
    "envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
)


def needs_envoy() -> None:
    """The program and the messages of its protocol."""
    needs("envoy", HOW)
    if not program().is_file():
        needs("envoy._bin", HOW)
    needs("grpc", HOW)


def program() -> Path:
    spec = find_spec("envoy")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return next((file for place in places if (file := Path(place) / "_bin" / "envoy").is_file()), Path("envoy"))


def parsed(message: str, value: Mapping[str, Any]) -> Any:
    """The dictionary as the message of that name, `module:Class`: raises ParseError for a field that Envoy does not have."""
    json_format = import_module("google.protobuf.json_format")
    for module in MODULES:
        import_module(module)
    module, _, name = message.partition(":")
    return json_format.ParseDict(dict(value), getattr(import_module(module), name)())


def bootstrap_message(value: Mapping[str, Any]) -> Any:
    return parsed("envoy.config.bootstrap.v3.bootstrap_pb2:Bootstrap", value)


def validated(folder: Path, config: Mapping[str, Any]) -> str:
    """What is wrong with the configuration, in Envoy's own words; nothing where it takes it."""
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    command = [str(program()), "--mode", "validate", "-c", str(file), "--use-dynamic-base-id", "--log-level", "critical"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stderr + done.stdout


@dataclass(slots=True)
class RunningEnvoy:
    """`port`: of its listener; `admin`: of its own."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    admin: int

    @classmethod
    def start(cls, folder: Path, config: Mapping[str, Any], port: int, admin: int) -> RunningEnvoy:
        file, log = folder / "envoy.yaml", folder / "envoy.log"
        file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        command = [str(program()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        made = cls(process, folder, port, admin)
        made._wait()
        return made

    def _wait(self) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.ask("/ready").strip() == "LIVE":
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.stop()
        raise AssertionError(f"Envoy did not start: {self.log()[-2000:]}")

    def ask(self, path: str) -> str:
        """Envoy's own admin."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def log(self) -> str:
        return (self.folder / "envoy.log").read_text(errors="replace")

    def access_log(self) -> list[dict[str, Any]]:
        """What it wrote of the requests so far; it may be some seconds late."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def raw_answer(port: int, request: bytes) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()
