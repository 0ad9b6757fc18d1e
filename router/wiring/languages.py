"""The model that tells languages apart, unpacked once and kept as plain arrays, which all processes map and so have in memory once.

What is kept is derived from the package: a start never fails for the want of it. Where it is missing, torn, another's or cannot be
written, the model is unpacked as it was before.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

from router import durable
from router.stages.language import CODES, unpack
from router.wiring.prepared_models import LANGUAGES, VARIABLE

if TYPE_CHECKING:
    from router.workspace import Workspace

log = logging.getLogger("lockgate.languages")
FORMAT = 1  # part of the name: another layout is another file
ENDING = ".arrays"
DIGEST = 32  # bytes of SHA-256 at the beginning, over all that follows
ALIGNED = 64
KINDS = {"ptc": ("<f2", 2), "pc": ("<f4", 1), "nextmove": ("<u4", 1), "row": ("<u2", 1), "output": ("<i4", 1)}
"""Of each array its type and its dimensions."""
PATIENCE_S = 10.0  # with another process that unpacks; then this one does so for itself
_open: list[LanguageIdentifier] = []


def language_identifier(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> LanguageIdentifier:
    """The process's one: from the folder of models that the environment names, else from the workspace's state, which gets it if it has
    none."""
    if not _open:
        named, state = environment.get(VARIABLE), workspace.path(workspace.config.state)
        prepared = [Path(named) / LANGUAGES] if named else []
        _open.append(open_identifier(prepared, state / "models" / LANGUAGES if state.is_dir() else None))
    return _open[0]


def open_identifier(prepared: Sequence[Path], own: Path | None) -> LanguageIdentifier:
    """`prepared`: folders that are only read. `own`: where it is kept if none has it; None for nowhere. Several processes may ask at once:
    the first to come unpacks, the others map what it leaves."""
    name = _name()
    for folder in (*prepared, *([own] if own is not None else [])):
        found = _mapped(folder / name)
        if found is not None:
            return found
    if own is None:
        return unpack()
    try:
        with _alone(own):
            return _mapped(own / name) or _kept(own / name)
    except OSError as error:
        log.info("the languages' model is not kept in %s: %s", own, error)
        return unpack()


@cache
def _name() -> str:
    """By everything that decides what is in it."""
    about = json.dumps([FORMAT, version("py3langid"), sorted(CODES), hashlib.sha256((MODEL_DIR / MODEL_FILE).read_bytes()).hexdigest()])
    return hashlib.sha256(about.encode()).hexdigest()[:32] + ENDING


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Ends with the process, however that ends. Raises OSError, TimeoutError among it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, deadline = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process has been at it for too long") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _kept(file: Path) -> LanguageIdentifier:
    identifier = unpack()
    try:
        _write(file, identifier)
    except OSError as error:
        log.info("the languages' model cannot be kept as %s: %s", file, error)
        return identifier
    return _mapped(file) or identifier


def _write(file: Path, identifier: LanguageIdentifier) -> None:
    """A crash leaves a hidden draft, which the next that writes removes."""
    parts = list(_parts(identifier))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    with durable.replace(file) as draft:
        draft.write(digest.digest())
        draft.writelines(parts)
    file.chmod(0o644)  # nothing in it is secret, and who starts a command may be another than who serves
    for former in (*file.parent.glob(f"*{ENDING}"), *file.parent.glob(f".*{ENDING}*")):
        if former != file:
            former.unlink(missing_ok=True)  # of another version; who has it mapped keeps it


def _parts(identifier: LanguageIdentifier) -> Iterator[bytes]:
    """What follows the digest: the description in a line, then each array, all of them aligned."""
    arrays = {
        "ptc": np.asarray(identifier.nb_ptc),
        "pc": np.asarray(identifier.nb_pc),
        "nextmove": np.asarray(identifier.tk_nextmove),
        "row": np.asarray(identifier.tk_row),
        "output": np.asarray(identifier.tk_output, dtype=np.int32),
    }
    described = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    line = json.dumps({"classes": identifier.nb_classes, "arrays": described}).encode()
    yield line + b" " * (-(DIGEST + len(line) + 1) % ALIGNED) + b"\n"
    for array in arrays.values():
        yield array.tobytes() + bytes(-array.nbytes % ALIGNED)


def _mapped(file: Path) -> LanguageIdentifier | None:
    """None for one that is not there, or not as it was written."""
    try:
        with file.open("rb") as content:
            return _read(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("%s is not the languages' model as it was kept, and is not used: %s", file, error)
        return None


def _read(content: BufferedReader) -> LanguageIdentifier:
    """Through the page cache once, for the digest; of what is mapped only those pages are this process's that texts ask for."""
    stated = content.read(DIGEST)
    if hashlib.file_digest(content, "sha256").digest() != stated:
        raise ValueError("its digest is another")
    content.seek(DIGEST)
    about = json.loads(content.readline())
    arrays = _arrays(content, content.tell(), about["arrays"])
    return LanguageIdentifier(
        arrays["ptc"],
        arrays["pc"],
        about["classes"],
        arrays["nextmove"].data,  # elements of a view are plain numbers, as those of the library's own arrays
        arrays["output"].tolist(),
        norm_probs=True,
        tk_row=arrays["row"].tolist(),
    )


def _arrays(content: BufferedReader, start: int, described: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    mapped = {}
    if {name: (kind, len(shape)) for name, (kind, shape) in described.items()} != KINDS:
        raise ValueError("its arrays are others")  # numbers only: an array of objects would be addresses of whoever wrote it
    for name, (kind, shape) in described.items():
        mapped[name] = np.memmap(content, dtype=kind, mode="r", offset=start, shape=tuple(shape)).view(np.ndarray)
        start += mapped[name].nbytes + -mapped[name].nbytes % ALIGNED
    return mapped
