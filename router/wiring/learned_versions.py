"""The file of what was learnt: which version is in force, kept where all nodes see it, and written by each node beside its own catalog.

What is in force follows from the proposals: a crash between "it is rolled out" and "its version is in force" is made up for in a round.
A file that is no version that was kept was changed by hand, and is left alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from router import durable
from router.adaptation.keeping import Keeping
from router.audit.records.record import system_entry
from router.errors import ConfigError, RefusedError, StateError
from router.learned import Learned, LearnedIntent, NewIntent, digest_of, read_learned, written
from router.ports import Clock, Lesson
from router.snapshot import Snapshot
from router.utterances import beside
from router.workspace import Workspace, parse

log = logging.getLogger("lockgate.learning")
VERSION, CURRENT, THE_ONE = "learned_version", "learned_current", "current"
EVENT = "learned_in_force"


class Reloading(Protocol):
    snapshot: Snapshot
    workspace: Workspace

    async def reload(self) -> str: ...


class LearnedVersions:
    def __init__(self, keeping: Keeping, clock: Clock, reloading: Callable[[], Reloading]) -> None:
        self._keeping = keeping
        self._clock = clock
        self._reloading = reloading

    @property
    def name(self) -> str:
        """The file, relative to the workspace. Raises RefusedError."""
        workspace = self._reloading().workspace
        if workspace.catalog.learned is None:
            sentence = "The catalog names no file for what is learnt: write 'learned: learned.yaml' into it."
            raise RefusedError(sentence, "learned_missing", 409)
        return beside(os.path.normpath(workspace.config.catalog), workspace.catalog.learned)

    async def base(self) -> bytes:
        """What is in force; before the first version what the file says. Raises RefusedError where the file says something else."""
        found = await self._on_disk()
        current = await self.current()
        if current is not None and digest_of(found) != current:
            sentence = f"'{self.name}' is not as Lockgate wrote it; put the version {current[:12]} back, or move what is in it."
            raise RefusedError(sentence, "learned_edited", 409)
        return found

    async def current(self) -> str | None:
        lesson = await self._keeping.store.get(CURRENT, THE_ONE)
        return None if lesson is None else str(lesson.terms["version"])

    def learnt(self, content: bytes) -> Learned:
        """Raises RefusedError."""
        learned, faults = read_learned(self.name, {self.name: content} if content else {})
        if faults:
            raise RefusedError(str(faults[0]), "learned_edited", 409)
        return learned

    def candidate(self, content: bytes) -> Snapshot:
        """What would serve. Raises RefusedError where it cannot."""
        snapshot = self._reloading().snapshot
        made = Snapshot(snapshot.root, snapshot.config, {**snapshot.files, self.name: content}, secrets=snapshot.secrets)
        try:
            parse(made, os.environ)
        except ConfigError as error:
            raise RefusedError(f"What would come cannot be used: {error.faults[0]}", "proposal_unfit", 422) from error
        return made

    async def keep_version(self, content: bytes, proposal: str | None) -> str:
        """Its digest. Content-addressed: the same once more changes nothing."""
        terms = {"content": content.decode(), "proposal": proposal}
        await self._keeping.store.put(Lesson(VERSION, digest_of(content), "", "kept", self._clock.now_ns(), terms), [], "", 0)
        return digest_of(content)

    async def version(self, digest: str) -> Mapping[str, Any]:
        lesson = await self._keeping.store.get(VERSION, digest)
        if lesson is None or digest_of(str(lesson.terms["content"]).encode()) != digest:
            raise StateError(f"The version {digest[:12]} of what was learnt is not as it was kept.", "learning_unreadable")
        return lesson.terms

    async def put_in_force(self, version: str, over: str | None, proposal: str) -> None:
        """On record, then in the file, then in what serves. Raises ConfigError where it cannot serve; then nothing of it does."""
        lesson = await self._keeping.store.get(CURRENT, THE_ONE)
        known = 0 if lesson is None else lesson.version
        now_ns = self._clock.now_ns()
        details = {"version": version, "over": over, "proposal": proposal}
        told = Lesson(CURRENT, THE_ONE, "", "in_force", now_ns, details, version=known)
        if not await self._keeping.put(told, [system_entry(EVENT, now_ns, details)]):
            raise RefusedError("Another node put something in force at the same time.", "proposal_changed", 409)
        await self.write()

    async def write(self) -> None:
        """Brings the file to the version in force, if it has another one, and what serves to the file."""
        current = await self.current()
        if current is None or self._reloading().workspace.catalog.learned is None:
            return
        found = await self._on_disk()
        if digest_of(found) == current:
            return
        if found and await self._keeping.store.get(VERSION, digest_of(found)) is None:
            log.error("'%s' was changed by hand and is not kept up any more", self.name)
            return
        content = str((await self.version(current))["content"]).encode()
        try:
            await asyncio.to_thread(_write, self._path, content)
        except OSError as error:
            sentence = f"'{self.name}' cannot be written ({error.strerror}); have `lockgate proposals export` make a patch instead."
            raise RefusedError(sentence, "learned_unwritable", 409) from error
        await self._reloading().reload()

    async def check_writable(self) -> None:
        """Before anything is on record. Raises RefusedError."""
        path = self._path
        if not os.access(path if path.exists() else path.parent, os.W_OK) or not os.access(path.parent, os.W_OK):
            sentence = f"'{self.name}' cannot be written; have `lockgate proposals export` make a patch instead."
            raise RefusedError(sentence, "learned_unwritable", 409)

    @property
    def _path(self) -> Path:
        return self._reloading().snapshot.root / self.name

    async def _on_disk(self) -> bytes:
        path = self._path
        try:
            return await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RefusedError(f"'{self.name}' cannot be read: {error.strerror}.", "learned_unwritable", 409) from error


def with_proposal(learned: Learned, terms: Mapping[str, Any], texts: Mapping[str, str]) -> bytes:
    """The file with a proposal in it; `texts` by name."""
    intents = dict(learned.intents)
    for name, about in terms["intents"].items():
        known = intents.get(name, LearnedIntent())
        added = [texts[each] for each in about["examples"] if texts[each] not in known.examples]
        changed: dict[str, Any] = {"examples": (*known.examples, *added)}
        if "new" in about:
            changed["new"] = NewIntent.model_validate(about["new"])
        if "route" in about:
            changed["route"] = about["route"]
        if "min_confidence" in about:
            changed["min_confidence"] = float(about["min_confidence"])
        intents[name] = known.model_copy(update=changed)
    outside = [texts[each] for each in terms["out_of_scope"] if texts[each] not in learned.out_of_scope]
    return written(Learned(intents=intents, out_of_scope=(*learned.out_of_scope, *outside)))


def _write(path: Path, content: bytes) -> None:
    if content:
        with durable.replace(path) as file:
            file.write(content)
    else:
        durable.remove(path)
