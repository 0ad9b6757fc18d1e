"""`lockgate serve`: runs the gateway, decide and control listeners until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path

import click
import uvloop
from rich.console import Console

from router.processes.control import ControlProcess, Started
from router.processes.stopping import STOP_S
from router.telemetry.logs import configure_logs

log = logging.getLogger("lockgate.stop")
UNSTOPPED = 1


@click.command()
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), default=Path("lockgate.yaml"), show_default=True, help="The configuration."
)
@click.option("--workers", "-w", type=click.IntRange(1, 256), help="Worker processes, instead of the configuration's number.")
@click.option(
    "--log", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of log lines before workers start."
)
def serve(config: Path, workers: int | None, log: str) -> None:
    """Serve the workspace until SIGTERM or Ctrl-C. SIGHUP, or a change of its files, takes up the changed workspace."""
    configure_logs(log)
    console = Console(stderr=True)
    uvloop.run(_serve(config, workers, console))


async def _serve(config: Path, workers: int | None, console: Console) -> None:
    process = ControlProcess(config, workers, _progress(console), lambda started: _announce(console, started))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, process)
    await process.run()


def _stop(process: ControlProcess) -> None:
    """By then it has ended, whatever its threads wait for: everything that was to be on record came before."""
    process.stop()
    last = threading.Timer(STOP_S, _end)
    last.daemon = True
    last.start()


def _end() -> None:
    log.error("this process has not stopped within %g seconds, and ends where it is; what was acknowledged is on record", STOP_S)
    os._exit(UNSTOPPED)


def _progress(console: Console):  # type: ignore[no-untyped-def]  # a closure over the last step shown
    shown: dict[str, int] = {}

    def progress(step: str, done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if shown.get(step) != tenth:
            shown[step] = tenth
            console.print(f"  {step}: {done}/{total}", highlight=False)

    return progress


def _announce(console: Console, started: Started) -> None:
    console.print(
        f"[bold green]Lockgate serves[/] with {started.workers} worker(s), configuration {started.config_digest[:12]}", highlight=False
    )
    for name, where in started.doors.items():
        console.print(f"  {name:8} {where}{'/v1/decide' if name == 'decide' else ''}", highlight=False)
    for address in started.envoy:
        console.print(f"  envoy    {address} (gRPC)", highlight=False)
    console.print(f"  control  {started.control}", highlight=False)
    console.print(f"  ledger   {started.records} records", highlight=False)
    if started.sign_in:
        # What is written to a log may be read by people who are no administrators.
        told = started.sign_in if console.is_terminal else "run `lockgate console link` for a link that signs you in"
        console.print(f"  console  {told}", highlight=False, soft_wrap=True, markup=False)
