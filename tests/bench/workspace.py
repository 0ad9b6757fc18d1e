"""The workspace that is measured: Halden's catalog and grants with the shipped policies, all its services one do-nothing upstream."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.sqlite.api_keys import SqliteApiKeys
from router.decision import Subject
from router.identity import api_keys
from router.system import SystemClock
from tests.bench.load import Request, get, post
from tests.bench.processes import ROOT, BenchError, Tree, free_ports, running

CONFIG = """\
version: 1
catalog: {root}/examples/halden/catalog.yaml
state: {state}
gateway: {{listen: "127.0.0.1:{gateway}", client: {client}}}
decide: null
control: {{listen: "127.0.0.1:{control}"}}
limits: [{{name: per-subject, by: subject, rate: 1000000/s, burst: 1000000}}]
policy: {{path: {root}/policies, data: {root}/examples/halden/policies/data.yaml}}
audit: {{origin: bench.example/ledger}}
telemetry: {{otlp: "{upstream}", log: json}}
"""
TEXT = "where is payment 4711, has the money arrived yet?"
_CITIES = ("Hamburg", "Bremen", "Lyon", "Porto", "Gdansk", "Malmo", "Turin", "Ghent", "Riga", "Vigo")
_ASKED = ("has it arrived", "is it through", "what is its state", "was it executed", "is it still pending", "did it fail")


@dataclass(frozen=True, slots=True)
class Workspace:
    folder: Path
    gateway: int
    control: int
    key: str
    environment: Mapping[str, str]
    envoy: int = 0

    @property
    def config(self) -> Path:
        return self.folder / "lockgate.yaml"

    @property
    def ready(self) -> str:
        return f"http://127.0.0.1:{self.control}/readyz"

    def lookup(self, _: int) -> Request:
        """A GET that a rule decides."""
        return get("/payments/4711", self._credential)

    def cached(self, _: int) -> Request:
        """A text that was classified before."""
        return self._ask(TEXT)

    def fresh(self, number: int) -> Request:
        """A text that was never seen: the encoder has to look."""
        return self._ask(fresh_text(number))

    def mixed(self, share: int) -> Mixed:
        return Mixed(self, share)

    def _ask(self, text: str) -> Request:
        return post("/ask", b'{"text":"%s"}' % text.encode(), self._credential)

    @property
    def _credential(self) -> str:
        return f"authorization: Bearer {self.key}\r\n"


@dataclass(frozen=True, slots=True)
class Mixed:
    """`share` per cent of the requests are texts that were never seen; the others are decided by a rule."""

    workspace: Workspace
    share: int

    def __call__(self, number: int) -> Request:
        return self.workspace.fresh(number) if number * self.share % 100 < self.share else self.workspace.lookup(number)


def fresh_text(number: int) -> str:
    """About twelve tokens, another one for every number."""
    dice = random.Random(number)
    return f"where is payment {1000 + number} to {dice.choice(_CITIES)}, {dice.choice(_ASKED)}?"


def make_workspace(folder: Path, upstream: str, client: str = "aiohttp") -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    gateway, control = free_ports(2)
    state = folder / "state"
    models = folder.parent / "models"  # trained once for all workspaces of a run
    models.mkdir(exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "models").symlink_to(models)
    filled = CONFIG.format(root=ROOT, state=state, gateway=gateway, control=control, client=client, upstream=upstream)
    (folder / "lockgate.yaml").write_text(filled)
    environment = {f"HALDEN_{name}_URL": upstream for name in ("PAYMENTS", "PEOPLE", "ITDESK", "BACKOFFICE")}
    return Workspace(folder, gateway, control, _make_key(state), environment)


def _make_key(state: Path) -> str:
    clock = SystemClock()
    store = SqliteApiKeys(state / "identity.sqlite", clock)
    store.open()
    try:
        subject = Subject("bench", "user", ("employee", "finance_clerk"), (), "halden-eu", {}, "api_key")
        return api_keys.create(store, "bench", subject, frozenset(("gateway",)), clock.now_ns())[1]
    finally:
        store.close()


@contextlib.contextmanager
def lockgate(workspace: Workspace, workers: int = 1) -> Iterator[Tree]:
    command = ["-m", "lockgate", "serve", "--config", str(workspace.config), "--workers", str(workers)]
    with running(Tree("lockgate", command, workspace.folder / "lockgate.log", workspace.environment)) as tree:
        tree.wait(workspace.ready)
        if len(tree.workers()) != workers:
            raise BenchError(f"lockgate runs {len(tree.workers())} workers, not {workers}")
        yield tree
