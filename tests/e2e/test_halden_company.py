"""The example company at its real size: what is missing is said in a sentence, and whatever happens nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from examples.halden.company.programs import check_installed
from examples.halden.demo.company import NotReadyError
from tests.e2e.processes import Process, until
from tests.needs import missing

COMMAND = (sys.executable, "-m", "examples.halden.demo", "--company")
WORKER = "examples.halden.company.worker"
LONG_S = 180.0


@pytest.fixture(autouse=True)
def installed() -> None:
    try:
        check_installed()
    except NotReadyError as error:
        missing(str(error))


@pytest.fixture
def place() -> Iterator[Path]:
    """Not in pytest's own folder: PostgreSQL does not run as root, and that folder is root's alone."""
    made = Path(tempfile.mkdtemp(prefix="lockgate-company-"))
    made.chmod(0o755)
    (made / "tmp").mkdir()
    yield made
    shutil.rmtree(made)


@contextmanager
def demo(place: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """All its files and those of its servers are below `place`, so that what is left there is its own."""
    made = Process([*COMMAND, *arguments], place / "said", {"TMPDIR": str(place / "tmp"), **environment})
    made.start()
    try:
        yield made
    finally:
        if made.ended is None:
            made.stop()


def nothing_left(place: Path) -> bool:
    """Neither a process that works there nor a file."""
    running = [each for each in psutil.process_iter(["cmdline"]) if str(place / "tmp") in " ".join(each.info["cmdline"] or ())]
    return not running and not list((place / "tmp").iterdir())


def test_what_is_missing_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotReadyError) as raised:
        check_installed()
    assert str(raised.value) == "Redis is missing: on Debian and Ubuntu, `apt-get install redis-server` brings it."


def test_a_server_that_does_not_come_up_is_named_and_the_others_end(place: Path) -> None:
    """With what it said; NATS was running by then."""
    programs = place / "programs"
    programs.mkdir()
    (programs / "redis-server").write_text("#!/bin/sh\necho 'this Redis has no memory'\nexit 3\n")
    (programs / "redis-server").chmod(0o755)
    with demo(place, "--once", PATH=f"{programs}:{os.environ['PATH']}") as running:
        until(lambda: running.ended is not None, "it ended", LONG_S)
        assert running.ended == 1
        assert "redis did not come up; it said:\nthis Redis has no memory" in running.said
        assert "Traceback" not in running.said
    assert nothing_left(place)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_whoever_ends_it_while_it_starts_finds_nothing_left(place: Path, number: signal.Signals) -> None:
    with demo(place) as running:
        until(lambda: list((place / "tmp").glob("lockgate-demo-*/postgres.log")) or running.ended, "PostgreSQL ran", LONG_S)
        os.kill(running.pid, number)
        until(lambda: running.ended is not None, "it ended", LONG_S)
        assert running.ended == (0 if number == signal.SIGINT else 128 + number)
        assert "Traceback" not in running.said
    assert nothing_left(place)


@pytest.mark.slow
def test_everything_is_as_expected_and_then_what_to_try_next_is_true(place: Path) -> None:
    """All of it, then the three commands that it names, then work whose worker was killed, then Ctrl-C."""
    with demo(place, COLUMNS="200") as running:
        until(lambda: "Three things to try next" in running.said or running.ended is not None, "all was asked", LONG_S)
        assert "not as expected" not in running.said
        until(lambda: running.said.rstrip().count("\n  ") and "console link" in running.said, "it said what to try")
        curl, explain, link = running.said.rstrip().splitlines()[-3:]
        done = [shell(line) for line in (curl, explain, link)]
        assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
        assert '"payment_status"' in done[0].stdout.replace(" ", "")
        assert "cancel_payment" in done[1].stdout
        assert "http://127.0.0.1:" in done[2].stdout
        work_outlives_its_worker(place, curl, explain)
        os.kill(running.pid, signal.SIGINT)
        until(lambda: running.ended is not None, "it ended", LONG_S)
        assert running.ended == 0
    assert nothing_left(place)


def work_outlives_its_worker(place: Path, curl: str, explain: str) -> None:
    """`curl`, `explain`: of what to try next. The workflow waits at Temporal until there is a worker again, and its end is on record."""
    (worker,) = [each for each in psutil.process_iter(["cmdline"]) if WORKER in (each.info["cmdline"] or ()) and _of(each, place)]
    address = worker.cmdline()[-1]
    worker.kill()
    told = shell(curl.replace("is payment 4715 stuck?", "someone used my company card, 212 EUR at an online shop"))
    assert " 202 " in told.stdout.splitlines()[0]
    (decision,) = [line.partition(": ")[2].strip() for line in told.stdout.splitlines() if line.startswith("x-lockgate-decision-id")]
    environment = explain.strip().partition(";")[0]
    show = f"{environment}; {sys.executable} -m lockgate audit show {decision} {explain[explain.index('--config') :]}"
    until(lambda: "temporal://" in shell(show).stdout, "the workflow was started", LONG_S)
    assert "completed" not in shell(show).stdout
    again = Process(["sh", "-c", f"{environment}; exec {sys.executable} -m {WORKER} {address}"], place / "worker")
    again.start()
    try:
        until(lambda: "completed" in shell(show).stdout, "the workflow has ended", LONG_S)
    finally:
        again.stop()


def _of(process: psutil.Process, place: Path) -> bool:
    """Whether it is of the demonstration whose files are there."""
    return process.environ().get("HALDEN_STATE", "").startswith(str(place))


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
