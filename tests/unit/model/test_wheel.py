import base64
import hashlib
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from model.wheel import wheel_name, write_wheel

PACKAGE = {"__init__.py": b"", "manifest.json": b"{}\n"}
LICENCES = {"LICENSE": b"licence text\n", "NOTICE": b"notice\n"}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / wheel_name("1.2.3")
    write_wheel(path, "1.2.3", PACKAGE, LICENCES)
    return path


def test_same_content_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """Neither time nor the order of files leaves a trace in the wheel."""
    again = tmp_path / "again.whl"
    write_wheel(again, "1.2.3", dict(reversed(PACKAGE.items())), dict(reversed(LICENCES.items())))
    assert again.read_bytes() == wheel.read_bytes()


def test_record_lists_every_file_with_its_digest(wheel: Path) -> None:
    """RECORD has each file's sha256 and size, and itself without."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read("lockgate_minilm-1.2.3.dist-info/RECORD").decode().splitlines()
        assert [line.split(",")[0] for line in lines] == archive.namelist()
        for line in lines[:-1]:
            name, digest, size = line.split(",")
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content)))
    assert lines[-1] == "lockgate_minilm-1.2.3.dist-info/RECORD,,"


def test_metadata_reads_as_a_distribution(wheel: Path, tmp_path: Path) -> None:
    """Python's own reader finds name, version and licence files, and no dependency."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    distribution = PathDistribution(tmp_path / "site" / "lockgate_minilm-1.2.3.dist-info")
    assert (distribution.name, distribution.version) == ("lockgate-minilm", "1.2.3")
    assert distribution.metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert not distribution.requires


def test_nothing_partial_is_left(wheel: Path) -> None:
    """The wheel is renamed into place when it is whole."""
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
