"""`lockgate serve`: runs the gateway, decide and control listeners until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop

from router.cli.common import config_option
from router.processes.launching import Loading
from router.processes.stopping import STOP_S
from router.system import loading
from router.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from router.processes.control import ControlProcess, Started
    from router.processes.training import Progress

log = logging.getLogger("lockgate.stop")
UNSTOPPED = 1


@click.command()
@config_option
@click.option("--workers", "-w", type=click.IntRange(1, 256), help="Worker processes, instead of the configuration's number.")
@click.option(
    "--log", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of log lines before workers start."
)
def serve(config: Path, workers: int | None, log: str) -> None:
    """Serve the workspace until SIGTERM or Ctrl-C. SIGHUP, or a change of its files, takes up the changed workspace."""
    configure_logs(log)
    uvloop.run(_serve(config, workers))


async def _serve(config: Path, workers: int | None) -> None:
    """The first worker loads while this process does; how many more there are is only known then, unless the caller says so."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # would end it, and by then nothing was read that could be read again
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # in a container the first process does not even get what it has no handler for
        loop.add_signal_handler(number, asked.set)
    workers_loading = Loading()
    try:
        await workers_loading.begin(workers or 1)
        with loading():
            from router.processes.control import ControlProcess
        process = ControlProcess(config, workers, _progress(), _announce, workers_loading)
        loop.add_signal_handler(signal.SIGHUP, process.look_again)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, process)
        if asked.is_set():
            _stop(process)
        await process.run()
    finally:
        await workers_loading.end()


def _stop(process: ControlProcess) -> None:
    """By then it has ended, whatever its threads wait for: everything that was to be on record came before."""
    process.stop()
    last = threading.Timer(STOP_S, _end)
    last.daemon = True
    last.start()


def _end() -> None:
    log.error("this process has not stopped within %g seconds, and ends where it is; what was acknowledged is on record", STOP_S)
    os._exit(UNSTOPPED)


def _progress() -> Progress:
    shown: dict[str, int] = {}

    def progress(step: str, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if shown.get(step) != tenth:
            shown[step] = tenth
            _say(f"  {step}: {done}/{total}")

    return progress


def _announce(started: Started) -> None:
    serves = click.style("Lockgate serves", fg="green", bold=True)
    _say(f"{serves} with {started.workers} worker(s), configuration {started.config_digest[:12]}")
    for name, where in started.doors.items():
        _say(f"  {name:8} {where}{'/v1/decide' if name == 'decide' else ''}")
    for address in started.envoy:
        _say(f"  envoy    {address} (gRPC)")
    _say(f"  control  {started.control}")
    _say(f"  ledger   {started.records} records")
    if started.sign_in:
        # What is written to a log may be read by people who are no administrators.
        told = started.sign_in if sys.stderr.isatty() else "run `lockgate console link` for a link that signs you in"
        _say(f"  console  {told}")


def _say(line: str) -> None:
    """Colours are for terminals, and for nobody who does not want them."""
    click.echo(line, err=True, color=False if os.environ.get("NO_COLOR") else None)
