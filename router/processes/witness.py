"""`lockgate witness` as a process: one listener, one key, one file that remembers."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.local_limits import LocalLimits
from adapters.witness_state_file import WitnessStateFile
from router.audit.keys.files import ensure_signing_key, read_signing_key
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.desk import WitnessDesk
from router.config.witness import WitnessConfig
from router.doors.http1 import GuardedHttp
from router.doors.witness import WitnessApp
from router.errors import AuditError, ConfigError
from router.ports import Clock
from router.processes.server import server, started
from router.processes.sockets import bound, listen
from router.settings import Address
from router.system import SystemClock
from router.validation import validate
from router.yaml_source import read_yaml

GRACE_S = 5.0
CONNECTIONS = 256


class Listener(GuardedHttp):
    max_connections = CONNECTIONS


@dataclass(frozen=True, slots=True)
class WitnessFiles:
    """A configuration and the paths that it names."""

    config: WitnessConfig
    root: Path

    @property
    def key(self) -> Path:
        return self.root / self.config.key

    @property
    def state(self) -> Path:
        return self.root / self.config.state

    def cosigner(self) -> Cosigner:
        """Raises AuditError where there is no key yet."""
        return Cosigner(self.config.name, read_signing_key(self.key))

    def policy_line(self, cosigner: Cosigner, address: Address) -> str:
        """For a policy file. `witness` and the policy's own name for it, which its reader may change."""
        scheme = "https" if self.config.tls is not None else "http"
        return f"witness {cosigner.name} {cosigner.verifier} {self.config.url or f'{scheme}://{address}'}"


def read_witness(path: Path) -> WitnessFiles:
    """Raises ConfigError with every fault, by line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}:1: The witness's configuration cannot be read: {(error.strerror or str(error)).lower()}.") from error
    document, faults = read_yaml(path.name, content, os.environ)
    if document is None:
        raise ConfigError(*map(str, faults))
    config, wrong = validate(WitnessConfig, document, value={} if document.value is None else document.value)
    if faults or wrong or config is None:
        raise ConfigError(*map(str, [*faults, *wrong]))
    return WitnessFiles(config, path.parent.absolute())


class WitnessProcess:
    """`new_state`: whether it may begin without a memory although it has a key. `remember` makes what remembers, over a path."""

    def __init__(
        self,
        files: WitnessFiles,
        announce: Callable[[str], None],
        *,
        new_state: bool = False,
        remember: Callable[[Path], WitnessStateFile] = WitnessStateFile,
    ) -> None:
        self._files = files
        self._announce = announce
        self._new_state = new_state
        self._remember = remember
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Returns after a clean stop. Raises ConfigError, AuditError where it could not start."""
        files = self._files
        tls = _tls(files)
        sock = bound(files.config.listen.host, files.config.listen.port)
        try:
            state, cosigner = _opened(files, self._remember(files.state), self._new_state)
        except BaseException:
            sock.close()
            raise
        clock: Clock = SystemClock()
        app = WitnessApp(
            WitnessDesk(cosigner, files.config.logs, state, clock), LocalLimits(files.config.rate, float(files.config.burst), clock)
        )
        running = server(app, http=Listener, grace_s=GRACE_S, ssl=tls, date=False)
        serving = asyncio.create_task(running.serve([listen(sock)]))
        try:
            await started(running, serving)
            self._announce(files.policy_line(cosigner, Address(*sock.getsockname()[:2])))
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        finally:
            running.stop()
            await serving
            app.close()
            state.close()


def _opened(files: WitnessFiles, state: WitnessStateFile, new_state: bool) -> tuple[WitnessStateFile, Cosigner]:
    """A key that is made now has signed nothing, so it needs no memory; the memory is made first, for a crash between the two leaves a
    state without a key, which is nothing, and not a key without a state."""
    state.open(new=new_state or not files.key.exists())
    try:
        cosigner = Cosigner(files.config.name, ensure_signing_key(files.key))
    except AuditError:
        state.close()
        raise
    return state, cosigner


def _tls(files: WitnessFiles) -> ssl.SSLContext | None:
    """Raises ConfigError where the certificate cannot be used."""
    wanted = files.config.tls
    if wanted is None:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(files.root / wanted.certificate, files.root / wanted.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The certificate {wanted.certificate} with the key {wanted.key} cannot be used: {error}.") from error
    return made
