"""Where a workspace's ledger and subjects' keys are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from router.audit.governance.ordering import NodeTurns
from router.audit.journal import LedgerStore
from router.audit.keys.store import SubjectKeyStore
from router.audit.questions.reader import LedgerReader
from router.config.evidence import PostgresStoreSettings
from router.errors import ConfigError
from router.registry import ADAPTERS
from router.secret import Secret
from router.workspace import Workspace


class LedgerPlace(Protocol):
    """Can be pickled, for the processes of a verification."""

    def store(self, verifier: str) -> LedgerStore:
        """For a process that appends and signs under this public key."""

    def keys(self, sealing_key: bytes) -> SubjectKeyStore:
        """For a process that makes keys; not open yet."""

    def reader(self, make: Callable[[int, bytes, bytes, str], Any]) -> LedgerReader: ...

    def kept_keys(self, sealing_key: Callable[[], bytes]) -> SubjectKeyStore:
        """Open, for who only asks. Raises AuditError."""

    def turns(self) -> NodeTurns | None:
        """Of giving orders; None where there is one node."""

    def aside(self) -> LedgerPlace:
        """Where a ledger is made that is to come in the place of this one. Raises AuditError `audit_store_unsuited` where that is done with
        files."""

    def put_in_place(self, new: LedgerPlace, name: str) -> str:
        """Where this one is kept from then on. Raises AuditError."""

    def migrate(self) -> list[tuple[str, int, int]]:
        """(part, format before, format now). Raises AuditError."""

    def grant(self, role: str, pruning: bool) -> None:
        """To a database's user, what a node may do; `pruning`: with retention. Raises AuditError, of files `audit_store_unsuited`."""


def ledger_place(workspace: Workspace) -> LedgerPlace:
    """Raises ConfigError."""
    settings, module = workspace.ledger_store, ADAPTERS.load("ledger store", workspace.config.audit.store.adapter)
    if not isinstance(settings, PostgresStoreSettings):
        sqlite: LedgerPlace = module.SqlitePlace(workspace.path(workspace.config.state))
        return sqlite
    url = _url(module, "url", settings.url, workspace.root)
    keys = _url(module, "keys", settings.keys, workspace.root)
    limits, keys_schema = (settings.connect_within, settings.answer_within), settings.keys_schema_name or settings.schema_name
    ledger, subject_keys = module.Server(url, settings.schema_name, *limits), module.Server(keys, keys_schema, *limits)
    found: LedgerPlace = module.PostgresPlace(ledger, subject_keys, settings.patience)
    return found


def place_at(url: str) -> LedgerPlace:
    """A ledger in PostgreSQL, ledger and keys in one database, in the schema `lockgate`. Raises ConfigError."""
    module = ADAPTERS.load("ledger store", "postgres")
    _check(module, "--store", url)
    found: LedgerPlace = module.PostgresPlace(module.Server(url), module.Server(url))
    return found


def _url(module: Any, name: str, secret: Secret, root: Path) -> str:
    url = secret.reveal(root)
    _check(module, f"audit.store.{name}", url)
    return url


def _check(module: Any, name: str, url: str) -> None:
    try:
        module.check_url(url)
    except ConfigError as error:
        raise ConfigError(f"'{name}': {error}") from error
