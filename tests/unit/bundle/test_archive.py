"""Archives from somebody who means harm, and the form in which ours are written."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bundle import archive
from router.bundle.archive import pack, read_folder, unpack
from router.errors import BundleError
from tests.unit.bundle.making import files

Add = Callable[[tarfile.TarFile], None]


def tape(*adding: Add) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for add in adding:
            add(made)
    return gzip.compress(stream.getvalue())


def plain(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = "") -> Add:
    def add(made: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.type, member.linkname = len(content), kind, target
        made.addfile(member, io.BytesIO(content))

    return add


def test_what_is_packed_is_unpacked() -> None:
    """Every file with its path, and the same bytes whenever it is packed."""
    made = files()
    assert unpack(pack(made), "b") == made
    assert pack(made) == pack(dict(reversed(made.items())))


def test_paths_are_read_with_and_without_a_slash_before_them() -> None:
    """OPA writes them with one, tar by hand with `./` or nothing."""
    packed = tape(plain("/a.rego"), plain("./b.rego"), plain("c/d.rego"), plain("c", b"", tarfile.DIRTYPE))
    assert set(unpack(packed, "b")) == {"a.rego", "b.rego", "c/d.rego"}


@pytest.mark.parametrize(
    "name", ["../a.rego", "a/../../b.rego", "a//b.rego", "a/./b.rego", "..", "a" * 300, "a\\b.rego", "c:/a.rego", "a\nb"]
)
def test_a_path_that_is_not_one_inside_is_refused(name: str) -> None:
    """One sentence that names it."""
    with pytest.raises(BundleError, match="a file whose path"):
        unpack(tape(plain(name)), "b")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE])
def test_whatever_is_no_plain_file_is_refused(kind: bytes) -> None:
    """Links and devices have no place in a bundle."""
    content = b"x" if kind == tarfile.CONTTYPE else b""
    packed = tape(plain("a.rego", content, kind, "/etc/passwd"))
    if kind == tarfile.CONTTYPE:  # which tar reads as a plain file, and so do we
        assert unpack(packed, "b") == {"a.rego": b"x"}
        return
    with pytest.raises(BundleError, match=r"no plain file: 'a.rego'"):
        unpack(packed, "b")


def test_a_name_that_comes_twice_is_refused() -> None:
    """Whichever is checked, another reader might take the other one."""
    with pytest.raises(BundleError, match=r"'a.rego' twice"):
        unpack(tape(plain("a.rego"), plain("/a.rego", b"y")), "b")


def test_a_bomb_is_not_unpacked() -> None:
    """A few kilobytes that become more than is allowed."""
    bomb = gzip.compress(b"\0" * (archive.MAX_UNPACKED + 1))
    assert len(bomb) < archive.MAX_PACKED
    with pytest.raises(BundleError, match="larger than 64 MiB when it is unpacked"):
        unpack(bomb, "b")


def test_a_large_archive_and_a_large_file_are_refused() -> None:
    """Each limit has its sentence."""
    with pytest.raises(BundleError, match="b is larger than 10 MiB"):
        unpack(b"x" * (archive.MAX_PACKED + 1), "b")
    with pytest.raises(BundleError, match="a file larger than 10 MiB: 'a'"):
        unpack(tape(plain("a", b"\0" * (archive.MAX_FILE + 1))), "b")


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders count, too."""
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    with pytest.raises(BundleError, match="more than 2 files"):
        unpack(tape(plain("a"), plain("d", b"", tarfile.DIRTYPE), plain("b")), "b")


def test_whatever_is_cut_off_is_refused() -> None:
    """At every place, also where tar itself would take it for the end."""
    whole = gzip.decompress(pack({"a.rego": b"x" * 600, "b.rego": b"y"}))
    assert set(unpack(gzip.compress(whole), "b")) == {"a.rego", "b.rego"}
    for length in range(0, len(whole) - 9216, 128):
        with pytest.raises(BundleError):
            unpack(gzip.compress(whole[:length]), "b")
    with pytest.raises(BundleError, match="cut off"):
        unpack(pack({"a": b"x"})[:-4], "b")


def test_damage_within_is_no_end() -> None:
    """A header that cannot be read hides what comes after it."""
    stream = bytearray(gzip.decompress(pack({"a": b"x", "b": b"y"})))
    stream[1024] ^= 1
    with pytest.raises(BundleError, match="does not end as it must"):
        unpack(gzip.compress(bytes(stream)), "b")


@given(st.binary(max_size=2000))
def test_garbage_is_refused_in_a_sentence(garbage: bytes) -> None:
    """Whatever it is, nothing but a BundleError comes of it."""
    for data in (garbage, gzip.compress(garbage)):
        with pytest.raises(BundleError):
            unpack(data, "b")


def test_a_folder_is_read_as_an_archive_is(tmp_path: Path) -> None:
    """Manifest and signatures count; other hidden files and folders do not, and a link is refused."""
    made = files()
    for name, content in {**made, ".git/x": b"", "lockgate/.draft.rego": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert read_folder(tmp_path, "f") == made
    (tmp_path / "link.rego").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match=r"no plain file: 'link.rego'"):
        read_folder(tmp_path, "f")
