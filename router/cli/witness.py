"""`lockgate witness`: cosigns other parties' checkpoints. Best run by another department, on a machine of its own."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from router.processes.witness import WitnessFiles, WitnessProcess, read_witness
from router.telemetry.logs import configure_logs


@click.command()
@click.option(
    "--config",
    "-c",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("witness.yaml"),
    show_default=True,
    help="The witness's configuration.",
)
@click.option("--print-key", is_flag=True, help="Print the line for policy files, and end. There must be a key: a first start makes it.")
@click.option("--new-state", is_flag=True, help="Begin without a memory although there is a key: what was cosigned before is forgotten.")
def witness(config: Path, print_key: bool, new_state: bool) -> None:
    """Cosign checkpoints of ledgers that continue what they showed before. Until SIGTERM or Ctrl-C."""
    files = read_witness(config)
    if print_key:
        click.echo(files.policy_line(files.cosigner(), files.config.listen))
        return
    configure_logs(files.config.log)
    asyncio.run(_serve(files, new_state))


async def _serve(files: WitnessFiles, new_state: bool) -> None:
    process = WitnessProcess(files, click.echo, new_state=new_state)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    await process.run()
