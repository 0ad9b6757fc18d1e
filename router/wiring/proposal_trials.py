"""Proposals measured: in a process of their own, one at a time, killed at its deadline and when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import orjson

from router.errors import ConfigError, RefusedError
from router.snapshot import Snapshot

RUNNER = "router.wiring.proposal_trial"
MEMORY = 8 << 30  # of addresses: an encoder's runtime reserves much more than it uses
ENDED = "proposal_trial_ended"
OUTSIDE = "oos"


async def measured(
    before: Snapshot, after: Snapshot, held_out: Sequence[tuple[str, str | None]], recorded: Sequence[str], seconds: int
) -> dict[str, Any]:
    """Raises RefusedError where it had to be ended, or what would come cannot be trained."""
    told = {
        "before": before.to_bytes(),
        "after": after.to_bytes(),
        "held_out": [list(each) for each in held_out],
        "recorded": list(recorded),
    }
    return await _apart(told, seconds)


async def grouped(snapshot: Snapshot, texts: Sequence[str], likeness: float, least: int, seconds: int) -> list[list[int]]:
    """Places of texts that are about the same. Raises RefusedError."""
    told = {"before": snapshot.to_bytes(), "texts": list(texts), "likeness": likeness, "least": least}
    found: list[list[int]] = (await _apart(told, seconds))["groups"]
    return found


async def asked(
    policies: Mapping[str, str], data: Mapping[str, Any], documents: Sequence[bytes], seconds: int
) -> list[tuple[str, str | None]]:
    """What policies say of each, as (effect, route). Raises RefusedError."""
    told = {"policies": dict(policies), "data": dict(data), "documents": list(documents)}
    return [(effect, route) for effect, route in (await _apart(told, seconds))["said"]]


async def _apart(told: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    told = {**told, "memory": MEMORY, "seconds": seconds}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        RUNNER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            answer, _ = await process.communicate(msgpack.packb(told, unicode_errors="replace"))
    except TimeoutError:
        raise RefusedError(f"The evaluation did not end within {seconds} s.", ENDED, 422) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return _figures(process.returncode, answer)


def _figures(status: int | None, answer: bytes) -> dict[str, Any]:
    if status != 0 or not answer:
        raise RefusedError("The evaluation took more than it may have of memory or of the processor, or broke.", ENDED, 422)
    found: Mapping[str, Any] = orjson.loads(answer)
    if "error" in found:
        raise RefusedError(f"What would come cannot be used: {found['error']}", "proposal_unfit", 422)
    return dict(found)


def read_held_out(path: Path) -> list[tuple[str, str | None]]:
    """Raises ConfigError with file and line of the first fault."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in ("text", "intent") if name not in (rows.fieldnames or ())]
            if missing:
                raise ConfigError(f"{path}:1: The column '{missing[0]}' is missing; wanted are text, intent.")
            return [_pair(path, number, row) for number, row in enumerate(rows, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}:1: The held-out texts of 'learning.held_out' cannot be read: {error}.") from error


def _pair(path: Path, number: int, row: Mapping[str, str | None]) -> tuple[str, str | None]:
    text, intent = row["text"], row["intent"]
    if not text or not intent:
        raise ConfigError(f"{path}:{number}: The row lacks a text or an intent; write 'oos' for a text that is about none.")
    return text, None if intent == OUTSIDE else intent
