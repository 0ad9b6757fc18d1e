"""Signatures on checkpoints, at once or beside. A key that lives on another machine is waited for on a thread of its own: the thread that
commits records must never wait for it, nor must anybody whose record it commits."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from threading import Thread
from typing import Protocol

from router.audit.tree.checkpoint import Checkpoint
from router.errors import AuditError

_LOG = logging.getLogger(__name__)
LOOK_S = 0.02
PAUSE_S = 10.0


class Signer(Protocol):
    """A NoteSigner, or what signs in its place while the ledger is handed over."""

    name: str

    @property
    def remote(self) -> bool: ...

    def sign(self, text: str) -> str:
        """The note. Raises AuditError."""

    def continues(self, note: str) -> None:
        """Raises AuditError unless this signer may go on after the ledger's last checkpoint."""


class Signing:
    """One signature at a time. After a failure none is tried for a while, for what failed was mostly a time-out."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._under_way: tuple[Checkpoint, Future[str]] | None = None
        self._not_before = 0.0

    def due(self, seconds: float) -> float:
        """When to call `note`, given when a checkpoint is due."""
        if self._under_way is not None:
            return 0.0 if self._under_way[1].done() else LOOK_S
        return max(seconds, self._not_before - time.monotonic())

    def note(self, checkpoint: Checkpoint, *, wait: bool = False) -> tuple[Checkpoint, str] | None:
        """A checkpoint and its note: this one's, or that of an earlier one whose signature was under way. None while it is, unless told to
        wait, and where there is none: the log says why, and the records are as safe as before."""
        if self._under_way is None:
            self._under_way = checkpoint, self._begun(checkpoint.text())
        checkpoint, future = self._under_way
        if not (wait or future.done()):
            return None
        self._under_way = None
        try:
            return checkpoint, future.result()
        except AuditError as error:
            self._not_before = time.monotonic() + PAUSE_S
            _LOG.error("audit checkpoint not signed: %s", error)
            return None

    def _begun(self, text: str) -> Future[str]:
        future: Future[str] = Future()
        if self._signer.remote:
            Thread(target=self._sign, args=(text, future), name="audit-signing", daemon=True).start()
        else:
            self._sign(text, future)
        return future

    def _sign(self, text: str, future: Future[str]) -> None:
        try:
            future.set_result(self._signer.sign(text))
        except Exception as error:  # noqa: BLE001  # whoever waits is told, and raises it
            future.set_exception(error)
