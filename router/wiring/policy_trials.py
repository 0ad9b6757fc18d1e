"""Policies of strangers, tried: each command in a process of its own, with limits, which is killed at its deadline and when nobody waits
for it any more. The interpreter of Rego cannot be cancelled and holds Python's, so nothing of it runs here."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from router.audit.questions.query import Found
from router.audit.questions.reading import Reading, new_reading_id
from router.audit.records.personal import OF_POLICY
from router.bundle.archive import pack
from router.control.services import AuditFilters, Ran
from router.errors import AuditError, RefusedError
from router.wiring.questions import AuditQuestions
from router.workspace import Workspace

RUNNER = "router.cli.policy.apart"
AT_ONCE = 2
MOST_ANSWER, MOST_SAID = 32 << 20, 64 << 10
MOST_DECISIONS = 200_000
BATCH = 200
BUNDLE, BEFORE, INPUT, INPUTS, CASES, RATCHET = "bundle", "before", "input", "inputs", "cases", "ratchet"
DOCUMENTS = {INPUT: "input.json", INPUTS: "inputs.jsonl", RATCHET: "ratchet.txt"}
ENDED = "policy_trial_ended"
NEW, CONFORMANCE = "new", "conformance"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one trial: address space in bytes, and seconds of the processor and of the clock."""

    memory: int = 1 << 30
    seconds: int = 60
    replay_seconds: int = 300


class Trials:
    """Implements the control API's port. `workspace` gives the one in force."""

    def __init__(self, audit: AuditQuestions, workspace: Callable[[], Workspace], limits: Limits = Limits()) -> None:
        self._audit = audit
        self._workspace = workspace
        self._limits = limits
        self._running = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        if self._running >= AT_ONCE:
            raise RefusedError(f"{AT_ONCE} trials of policies are running; try again.", "policy_busy", 429, retry_after=5)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def run(self, command: str, options: Sequence[str], files: Mapping[str, bytes]) -> Ran:
        place = "."
        if command == NEW and BUNDLE not in files:
            workspace = self._workspace()
            files, place = {**files, BUNDLE: await asyncio.to_thread(_packed, workspace)}, _place(workspace)
        async with _folder(files) as folder:
            told = {"at": _at(command), "arguments": ["policy", *_arguments(command, options, files, place)]}
            return await self._process(folder, files, self._limits.seconds, told).ran(None)

    async def replay(self, filters: AuditFilters, bundle: bytes | None, reader: str) -> Ran:
        files = {BUNDLE: bundle if bundle is not None else await asyncio.to_thread(_packed, self._workspace())}
        query, told = await self._audit.decisions_query(filters)
        reading = Reading("replay", told, None, True, reading=new_reading_id())
        await self._audit.note(reader, reading)
        sent = _Sent()
        async with _folder(files) as folder:
            process = self._process(folder, files, self._limits.replay_seconds, {"at": BUNDLE, "replay": True})
            ran = await process.ran(sent.lines(self._audit.decisions(query, BATCH)))
        await self._audit.note(reader, replace(reading, rows=sent.count))
        if not sent.count and not ran.faults:
            raise AuditError("No decision matches.", "decision_unknown")
        return ran

    def _process(self, folder: Path, files: Mapping[str, bytes], seconds: int, told: Mapping[str, Any]) -> _Process:
        archives = [name for name in files if name not in DOCUMENTS]
        spec = {
            "folder": str(folder),
            "archives": archives,
            "plain": [CASES],
            "arguments": [],
            "replay": False,
            "memory": self._limits.memory,
            "seconds": seconds,
        }
        return _Process({**spec, **told}, seconds)


class _Sent:
    """Decisions as lines, counted."""

    def __init__(self) -> None:
        self.count = 0

    async def lines(self, decisions: AsyncGenerator[list[Found], None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(decisions) as batches:
            async for batch in batches:
                self.count += len(batch)
                if self.count > MOST_DECISIONS:
                    told = f"More than {MOST_DECISIONS:,} decisions match; narrow it down, or use `lockgate policy replay`."
                    raise RefusedError(told, "replay_too_large", 422)
                yield b"".join(map(_line, batch))


class _Process:
    def __init__(self, spec: Mapping[str, Any], seconds: int) -> None:
        self._command = [sys.executable, "-I", "-m", RUNNER, orjson.dumps(spec).decode()]
        self._folder = spec["folder"]
        self._seconds = seconds

    async def ran(self, lines: AsyncGenerator[bytes, None] | None) -> Ran:
        """Raises RefusedError where it had to be ended, or ended by itself."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE if lines is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder,
            env=_environment(self._folder),
            start_new_session=True,
        )
        told = _read(process.stdout, MOST_ANSWER), _read(process.stderr, MOST_SAID)
        work = [*map(asyncio.ensure_future, told), asyncio.ensure_future(_feed(process.stdin, lines))]
        try:
            async with asyncio.timeout(self._seconds):
                answer, said, _ = await asyncio.gather(*work)
                status = await process.wait()
        except TimeoutError:
            raise RefusedError(f"The trial did not end within {self._seconds} s.", ENDED, 422) from None
        finally:
            await _killed(process)
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        if status in (0, 1) and answer:
            return Ran(status, answer)
        if status == 2 and said:
            return Ran(status, b"", tuple(said.decode("utf-8", "replace").splitlines()))
        raise RefusedError("The trial took more than it may have of memory or of the processor, or broke.", ENDED, 422)


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    content = bytearray()
    while stream is not None and (piece := await stream.read(65_536)):
        content += piece
        if len(content) > most:
            raise RefusedError("The trial answers more than this API gives.", ENDED, 422)
    return bytes(content)


async def _feed(stream: asyncio.StreamWriter | None, lines: AsyncGenerator[bytes, None] | None) -> None:
    """One that ends before it has read all says why by itself."""
    if stream is None or lines is None:
        return
    with suppress(ConnectionError):
        async with aclosing(lines) as batches:
            async for batch in batches:
                stream.write(batch)
                await stream.drain()
    with suppress(ConnectionError):
        stream.close()
        await stream.wait_closed()


async def _killed(process: asyncio.subprocess.Process) -> None:
    """With whatever it started; where it has ended this finds nothing."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def _folder(files: Mapping[str, bytes]) -> AsyncIterator[Path]:
    """For one trial, with what it is about."""
    made = await asyncio.to_thread(TemporaryDirectory, prefix="lockgate-trial-")
    try:
        for name, content in files.items():
            await asyncio.to_thread(Path(made.name, DOCUMENTS.get(name, f"{name}.tar.gz")).write_bytes, content)
        yield Path(made.name)
    finally:
        await asyncio.to_thread(made.cleanup)


def _at(command: str) -> str:
    """Files are named by their paths in the archive, but where there are two of them."""
    return {"diff": ".", CONFORMANCE: CASES}.get(command, BUNDLE)


def _arguments(command: str, options: Sequence[str], files: Mapping[str, bytes], place: str) -> list[str]:
    """`place` is the folder in the bundle that has the policies."""
    up = "" if command == "diff" else "../"
    if command == NEW:
        return [NEW, "rule", "--json", "--dry-run", *options, place]
    if command == CONFORMANCE:
        known = [f"--ratchet={up}{DOCUMENTS[RATCHET]}"] if RATCHET in files else []
        return [CONFORMANCE, ".", "--json=-", *known, *options]
    about = {"diff": [BEFORE, BUNDLE], "eval": [f"{up}{DOCUMENTS[INPUT]}", "."]}.get(command, ["."])
    inputs = [f"--inputs={up}{DOCUMENTS[INPUTS]}"] if INPUTS in files else []
    return [command, *about, "--json", *inputs, *options]


def _place(workspace: Workspace) -> str:
    """The workspace's own folder of policies, under whose path they are packed; those of a bundle lie at its root."""
    folder = os.path.normpath(workspace.config.policy.path)
    return folder if workspace.bundle is None else "."


def _environment(folder: str) -> dict[str, str]:
    """Nothing of ours, which may hold secrets."""
    return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _packed(workspace: Workspace) -> bytes:
    """The policies in force, under the names that their digest covers."""
    data = orjson.dumps(workspace.policy_data)
    return pack({**{name: text.encode() for name, text in workspace.policies.items()}, "data.yaml": data})


def _line(found: Found) -> bytes:
    """Nothing that is not needed for it."""
    personal = None if found.personal is None else {name: found.personal[name] for name in OF_POLICY if name in found.personal}
    told = {"index": found.index, "leaf": found.leaf, "sealed": found.sealed, "personal": personal, "key_id": found.columns["key_id"]}
    return orjson.dumps(told) + b"\n"
