"""The languages' model as it is kept: the same answers, whole or not used, and never a reason not to start."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from py3langid.langid import LanguageIdentifier

from router.stages.language import LanguageDetector, unpack
from router.wiring import languages
from router.wiring.languages import open_identifier
from tests.unit.stages.language_texts import REQUESTS

UTTERANCES = sorted(Path("examples/halden/utterances").glob("*.txt"))
ODD = ["", "ok", "4711", "🙂🙂", "\udcff", "ЗАБЫЛ ПАРОЛЬ", "a\x00b", "è" * 300, "日本語", "\ufeff", "e\u0301 come\u0300"]
TEXTS = [
    *(text for texts in REQUESTS.values() for text in texts),
    *(line for file in UTTERANCES for line in file.read_text().splitlines()),
    *ODD,
]


@pytest.fixture(scope="module")
def unpacked() -> LanguageIdentifier:
    return unpack()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first process left."""
    folder = tmp_path_factory.mktemp("models") / "languages"
    open_identifier([], folder)
    return folder


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch, unpacked: LanguageIdentifier) -> None:
    """Unpacking takes no time."""
    monkeypatch.setattr(languages, "unpack", lambda: unpacked)


def one(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_what_is_mapped_answers_as_what_is_unpacked(kept: Path, unpacked: LanguageIdentifier) -> None:
    """The same languages with the same scores, to the last bit, for all of the example company's requests and for odd texts."""
    mapped = open_identifier([kept], None)
    assert isinstance(mapped.tk_nextmove, memoryview)
    for text in TEXTS:
        assert mapped.rank(text) == unpacked.rank(text)
        assert mapped.classify(text) == unpacked.classify(text)
    by_expected = LanguageDetector(["it"], mapped), LanguageDetector(["it"], unpacked)
    assert [by_expected[0].detect(text) for text in TEXTS] == [by_expected[1].detect(text) for text in TEXTS]


def test_the_arrays_are_those_of_the_package(kept: Path, unpacked: LanguageIdentifier) -> None:
    """Nothing is converted on the way."""
    mapped = open_identifier([kept], None)
    assert mapped.nb_ptc.dtype == unpacked.nb_ptc.dtype
    assert np.array_equal(mapped.nb_ptc, unpacked.nb_ptc)
    assert np.array_equal(mapped.nb_pc, unpacked.nb_pc)
    assert mapped.nb_classes == unpacked.nb_classes
    assert mapped.tk_nextmove == memoryview(unpacked.tk_nextmove)
    assert list(mapped.tk_row) == list(unpacked.tk_row)
    assert list(mapped.tk_output) == list(unpacked.tk_output)


def test_what_is_mapped_cannot_be_written(kept: Path) -> None:
    """A process that goes astray changes nothing for the others."""
    mapped = open_identifier([kept], None)
    assert mapped.tk_nextmove.readonly
    assert not mapped.nb_ptc.flags.writeable


def never() -> LanguageIdentifier:
    raise AssertionError("it was unpacked again")


def test_a_second_process_does_not_unpack(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one left, another maps; from a folder that is only read as well as from its own."""
    monkeypatch.setattr(languages, "unpack", never)
    assert open_identifier([], kept).classify("ich habe mein Passwort vergessen")[0] == "de"
    assert open_identifier([kept], None).classify("ich habe mein Passwort vergessen")[0] == "de"


def test_what_is_prepared_is_not_copied(kept: Path, tmp_path: Path) -> None:
    """It is mapped where it is."""
    open_identifier([kept], tmp_path / "languages")
    assert not (tmp_path / "languages").exists()


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def nothing(data: bytes) -> bytes:
    return b""


def a_bit(data: bytes) -> bytes:
    return data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:]


def foreign(data: bytes) -> bytes:
    return b"#!/bin/sh\n" * 100


def resigned(data: bytes) -> bytes:
    """The digest says nothing of who wrote it."""
    return hashlib.sha256(data).digest() + data


def addresses(data: bytes) -> bytes:
    """Arrays of objects would be followed wherever their bytes point."""
    line, _, rest = data[languages.DIGEST :].partition(b"\n")
    return resigned(line.replace(b'"<u4"', b'"|O"', 1) + b"\n" + rest)


def another_description(data: bytes) -> bytes:
    return resigned(b'{"arrays": {}}\n')


@pytest.mark.parametrize("change", [torn, nothing, a_bit, foreign, addresses, another_description])
@pytest.mark.usefixtures("at_hand")
def test_what_is_not_as_it_was_written_is_written_anew(change, kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file, an empty one, one of which a bit has changed, another's: a line in the log, the right answers, and a whole file."""
    whole = one(kept).read_bytes()
    file = tmp_path / one(kept).name
    file.write_bytes(change(whole))
    with caplog.at_level(logging.INFO):
        assert open_identifier([], tmp_path).classify("ich habe mein Passwort vergessen")[0] == "de"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2  # before and after it waited for its turn
    assert one(tmp_path).read_bytes() == whole


@pytest.mark.usefixtures("at_hand")
def test_one_of_another_version_is_removed(kept: Path, tmp_path: Path) -> None:
    """It has another name; fifty megabytes do not stay with each upgrade."""
    former = tmp_path / ("0" * 32 + languages.ENDING)
    former.write_bytes(b"of a former version")
    (tmp_path / ".draft.part").write_bytes(b"")
    open_identifier([], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {one(kept).name, ".draft.part"}


@pytest.mark.usefixtures("at_hand")
def test_a_draft_that_a_crash_left_is_no_model(kept: Path, tmp_path: Path) -> None:
    """The next that writes removes it."""
    draft = tmp_path / f".{one(kept).name}.part"
    draft.write_bytes(one(kept).read_bytes()[:1000])
    open_identifier([], tmp_path)
    assert one(tmp_path).read_bytes() == one(kept).read_bytes()


def test_where_nothing_can_be_written_it_is_unpacked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in the place of the folder, as on a file system that is only read: no failure, and nothing louder than a note."""
    (tmp_path / "models").write_text("", encoding="utf-8")
    with caplog.at_level(logging.INFO):
        assert open_identifier([], tmp_path / "models" / "languages").classify("ich habe mein Passwort vergessen")[0] == "de"
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_where_there_is_no_room_it_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was unpacked is used, and nothing half is left."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with caplog.at_level(logging.INFO):
        assert open_identifier([], tmp_path).classify("ich habe mein Passwort vergessen")[0] == "de"
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("at_hand")
def test_one_that_is_waited_for_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds the folder and does not go on keeps nobody from starting."""
    monkeypatch.setattr(languages, "PATIENCE_S", 0.05)
    with languages._alone(tmp_path):
        assert open_identifier([], tmp_path).classify("ich habe mein Passwort vergessen")[0] == "de"
    assert list(tmp_path.iterdir()) == []


def starting(folder: str, ready, said) -> None:
    with patch.object(languages, "unpack", wraps=unpack) as unpacking:
        ready.wait(60)
        answer = open_identifier([], Path(folder)).classify("ich habe mein Passwort vergessen")
        said.put((unpacking.call_count, answer))


def test_of_several_that_start_at_once_one_unpacks(tmp_path: Path, unpacked: LanguageIdentifier) -> None:
    """The others wait for it, and all have the same answers."""
    context = multiprocessing.get_context("spawn")
    ready, said = context.Barrier(3), context.Queue()
    processes = [context.Process(target=starting, args=(str(tmp_path), ready, said)) for _ in range(3)]
    for process in processes:
        process.start()
    told = [said.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sorted(times for times, _ in told) == [0, 0, 1]
    assert {answer for _, answer in told} == {unpacked.classify("ich habe mein Passwort vergessen")}
    assert one(tmp_path).stat().st_mode & 0o777 == 0o644
