"""Bundles as OPA's gzipped tar archives, or unpacked in a folder. Whoever made one may be hostile: nothing is written to the disk from it,
and whatever has two readings is refused. Every refusal is a BundleError `bundle_unreadable`."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.errors import BundleError

MAX_PACKED = 10 << 20
MAX_FILE = 10 << 20
MAX_UNPACKED = 64 << 20
MAX_FILES = 10_000
MAX_NAME = 255
KEPT_HIDDEN = (".manifest", ".signatures.json")
BLOCK = 512


def unpack(data: bytes, where: str) -> dict[str, bytes]:
    """The files by their path in the bundle, without a slash before it. `where` begins the sentence of what is wrong."""
    tape = _decompressed(data, where)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tape), mode="r:") as archive:
            for name, content in _members(archive, where):
                if name in files:
                    raise BundleError(f"{where} has the file '{name}' twice.")
                files[name] = content
            rest = tape[archive.offset :]
    except (tarfile.TarError, ValueError, UnicodeError, RecursionError, OverflowError) as error:
        raise BundleError(f"{where} is no tar archive, or is damaged.") from error
    if len(rest) < BLOCK or rest.strip(b"\0"):  # the reader itself takes a damaged header for the end
        raise BundleError(f"{where} is damaged, or was cut off: its archive does not end as it must.")
    return files


def pack(files: Mapping[str, bytes]) -> bytes:
    """The same files give the same bytes, whoever packs them and when."""
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(f"/{name}")  # as OPA writes them
            member.size, member.mode = len(files[name]), 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(tape.getvalue(), mtime=0)


def read_folder(folder: Path, where: str) -> dict[str, bytes]:
    """The files of an unpacked bundle; hidden ones are no part of it, but for the manifest and the signatures."""
    files: dict[str, bytes] = {}
    total = 0
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory, name)
            if name.startswith(".") and (name not in KEPT_HIDDEN or path.parent != folder):
                continue
            inside = checked_name(path.relative_to(folder).as_posix(), where)
            files[inside] = _read(path, where)
            total += len(files[inside])
            _check_amount(len(files), total, where)
    return files


def checked_name(name: str, where: str) -> str:
    """A path inside the bundle, in its one form."""
    plain = name.removeprefix("./").removeprefix("/")
    parts = plain.split("/")
    if not plain or len(plain) > MAX_NAME or any(part in ("", ".", "..") for part in parts):
        raise BundleError(f"{where} has a file whose path is not one inside of it: {name[:80]!r}.")
    if "\\" in plain or ":" in plain or not plain.isprintable():
        raise BundleError(f"{where} has a file whose path holds characters that are not allowed there: {name[:80]!r}.")
    return plain


def _decompressed(data: bytes, where: str) -> bytes:
    if len(data) > MAX_PACKED:
        raise BundleError(f"{where} is larger than {MAX_PACKED >> 20} MiB.")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            tape = stream.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BundleError(f"{where} is not a gzip file, or was cut off.") from error
    if len(tape) > MAX_UNPACKED:
        raise BundleError(f"{where} is larger than {MAX_UNPACKED >> 20} MiB when it is unpacked.")
    return tape


def _members(archive: tarfile.TarFile, where: str) -> Iterator[tuple[str, bytes]]:
    total = 0
    for count, member in enumerate(archive, start=1):
        if member.isdir():
            _check_amount(count, total, where)
            continue
        name = checked_name(member.name, where)
        if not member.isreg() or member.issparse():
            raise BundleError(f"{where} has something that is no plain file: '{name}'.")
        if member.size > MAX_FILE:
            raise BundleError(f"{where} has a file larger than {MAX_FILE >> 20} MiB: '{name}'.")
        total += member.size
        _check_amount(count, total, where)
        content = archive.extractfile(member)
        read = content.read() if content is not None else b""
        if len(read) != member.size:
            raise BundleError(f"{where} was cut off within '{name}'.")
        yield name, read


def _check_amount(count: int, total: int, where: str) -> None:
    if count > MAX_FILES:
        raise BundleError(f"{where} has more than {MAX_FILES} files.")
    if total > MAX_UNPACKED:
        raise BundleError(f"{where} is larger than {MAX_UNPACKED >> 20} MiB when it is unpacked.")


def _read(path: Path, where: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{where} has something that is no plain file: '{path.name}'.")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_FILE:
        raise BundleError(f"{where} has a file larger than {MAX_FILE >> 20} MiB: '{path.name}'.")
    return data
