"""A worker that neither works nor ends: whoever asks about it is answered, and it cannot keep Lockgate from ending."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.e2e.wire import ask


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Lockgate]:
    """Its only worker is stopped, as by a debugger or a hung disk."""
    with company(tmp_path) as lockgate:
        (worker,) = lockgate.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            yield lockgate
        finally:
            if worker in lockgate.workers():
                os.kill(worker, signal.SIGCONT)


def test_readiness_tells_of_a_stuck_worker(stuck: Lockgate) -> None:
    """Not ready, within the time that a probe waits; metrics still tell what the control process knows; and it recovers by itself."""
    answer = ask(stuck.ports["control"], "GET", "/readyz")
    assert answer.status == 503
    assert b"lockgate_audit_records" in stuck.control("GET", "/metrics").body
    os.kill(stuck.workers()[0], signal.SIGCONT)
    until(stuck.ready, "it was ready again")
    assert stuck.ask("ann", "GET", "/echo/x").status == 200


@pytest.mark.slow
def test_a_stuck_worker_cannot_keep_it_from_ending(stuck: Lockgate) -> None:
    """SIGTERM: the worker gets its grace, then it is ended, and the process ends in order."""
    stuck.process.signal(signal.SIGTERM)
    assert stuck.process.wait(60) == 0
    assert stuck.leaves()[-1]["event"] == "stopped"


def test_a_key_that_a_stuck_worker_may_hold_is_gone_with_that_worker(tmp_path: Path) -> None:
    """Nothing is said to be erased while a worker that does not answer may still have its key: it is ended, and another one serves."""
    with company(tmp_path) as lockgate:
        lockgate.ask("ann", "GET", "/echo/x")
        (worker,) = lockgate.workers()
        os.kill(worker, signal.SIGSTOP)
        erased = lockgate.control("POST", "/v1/audit/erasures", {"subject": "ann", "authority": "Olga", "reason": "gdpr_art_17"})
        assert erased.status == 200
        assert worker not in lockgate.workers()
        until(lockgate.ready, "another worker served")
        assert lockgate.ask("ann", "GET", "/echo/x").status == 200
