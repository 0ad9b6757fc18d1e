"""Real witnesses: `lockgate witness` as a process of its own, in a folder of its own."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import yaml

from router.audit.witnesses.cosignature import CosignatureVerifier
from tests.e2e.processes import Process, until


@dataclass(slots=True)
class RunningWitness:
    process: Process
    folder: Path
    port: int

    def start(self) -> None:
        """Returns when it answers and has said its line, which it does after it answers."""
        said = len(self._lines())
        self.process.start()
        until(lambda: self._listens() and len(self._lines()) > said, "the witness listened and said its line")

    @property
    def line(self) -> str:
        """What it printed for policy files."""
        return self._lines()[-1].rstrip()

    @property
    def verifier(self) -> CosignatureVerifier:
        return CosignatureVerifier(self.line.split(" ")[2])

    @property
    def state(self) -> Path:
        return self.folder / "witness.state"

    def bring(self, body: bytes, method: str = "POST", path: str = "/add-checkpoint") -> tuple[int, str, str]:
        """(status, content type, body)"""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.headers.get("content-type", ""), response.read().decode()
        finally:
            connection.close()

    def _lines(self) -> list[str]:
        if not self.process.log.exists():
            return []
        return [line for line in self.process.said.splitlines(keepends=True) if line.startswith("witness ") and line.endswith("\n")]

    def _listens(self) -> bool:
        if self.process.ended is not None:
            raise AssertionError(f"the witness ended with {self.process.ended}:\n{self.process.said}")
        try:
            return self.bring(b"", "GET")[0] == 405
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def witness(folder: Path, name: str, port: int, logs: Sequence[str], module: str = "lockgate") -> Iterator[RunningWitness]:
    """Not started yet. Nothing of it runs afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "witness.yaml"
    config.write_text(yaml.safe_dump({"version": 1, "name": name, "listen": f"127.0.0.1:{port}", "logs": list(logs), "burst": 1000}))
    arguments = ["witness", "--config", str(config)] if module == "lockgate" else [str(config)]
    made = RunningWitness(Process([sys.executable, "-m", module, *arguments], folder / "witness.log"), folder, port)
    try:
        yield made
    finally:
        made.process.kill()


def make_certificate(folder: Path) -> Path:
    """`certificate.pem`, for 127.0.0.1 and vouched for by itself, and `key.pem`."""
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "1", "-subj", "/CN=witness"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(folder / "certificate.pem"), "-keyout", str(folder / "key.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem"
