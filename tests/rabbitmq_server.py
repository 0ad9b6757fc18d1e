"""RabbitMQ brokers of the tests' own on loopback, Debian's: each with its own port mapper and its own folder, ended by their pids."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.needs import needs_file

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL = PROGRAM.parent / "rabbitmqctl"
HOW = "sh requirements/debian.sh"
WAIT_S = 60.0
USER, PASSWORD = "lockgate", "sesame open"
READER = "reader"
"""May read and write nothing."""


@dataclass
class RabbitServer:
    """`settings` are lines of its configuration."""

    folder: Path
    port: int
    epmd_port: int
    dist_port: int
    settings: dict[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    epmd: subprocess.Popen[bytes] | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> str:
        return f"lockgate-{self.port}@localhost"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
        }

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        self._written()
        with (self.folder / "log").open("ab") as log:
            if self.epmd is None:
                command = ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"]
                self.epmd = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            self.process = subprocess.Popen(
                [str(PROGRAM)],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + WAIT_S
        while not self._answers():
            assert self.process.poll() is None, f"RabbitMQ ended:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"RabbitMQ did not start within {WAIT_S:g} s:\n{self.log[-3000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT_S)
            self.process = None

    def stop(self) -> None:
        self.kill()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait(WAIT_S)
            self.epmd = None

    def control(self, *command: str) -> str:
        done = subprocess.run(
            [str(CONTROL), "-n", self.node, *command], capture_output=True, text=True, env=self.environment, timeout=WAIT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _answers(self) -> bool:
        """A broker accepts connections before it takes anybody in: it is asked for its first frame."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as asked:
                asked.sendall(b"AMQP\x00\x00\x09\x01")
                return asked.recv(1) == b"\x01"
        except OSError:
            return False

    def _written(self) -> None:
        lines = {"loopback_users": "none", "load_definitions": str(self.folder / "definitions.json"), **self.settings}
        (self.folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        (self.folder / "definitions.json").write_text(json.dumps(_definitions()))
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")


def _definitions() -> dict[str, Any]:
    def user(name: str, password: str) -> dict[str, Any]:
        salt = b"salt"
        digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
        return {"name": name, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}

    def may(name: str, configure: str, write: str, read: str) -> dict[str, str]:
        return {"user": name, "vhost": "/", "configure": configure, "write": write, "read": read}

    return {
        "users": [user(USER, PASSWORD), user(READER, PASSWORD), user("client", PASSWORD)],
        "vhosts": [{"name": "/"}, {"name": "closed"}],
        "permissions": [may(USER, ".*", ".*", ".*"), may(READER, "", "^$", ".*"), may("client", ".*", ".*", ".*")],
        "queues": [],
        "exchanges": [],
        "bindings": [],
    }


@contextmanager
def made(plugins: tuple[str, ...] = (), **settings: str) -> Iterator[RabbitServer]:
    """Not started yet. A setting's name has `__` for `.`."""
    needs_file(PROGRAM, HOW)
    folder = Path(tempfile.mkdtemp(prefix="lockgate-rabbitmq-"))
    port, epmd_port, dist_port = free_ports(3)
    server = RabbitServer(folder, port, epmd_port, dist_port, {name.replace("__", "."): value for name, value in settings.items()}, plugins)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(plugins: tuple[str, ...] = (), **settings: str) -> Iterator[RabbitServer]:
    with made(plugins, **settings) as server:
        server.start()
        yield server
