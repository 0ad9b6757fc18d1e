"""Records as a real collector takes and passes them on: each at least once, told apart by its index."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from adapters.otlp_projection import OtlpLogs
from examples.halden.demo.company import free_ports
from router.audit.copies.projecting import differences, step
from router.errors import AuditError
from tests.conformance.collector import Arrived, attributes, collector
from tests.e2e.processes import until
from tests.unit.audit.ledgers import SIGNER, entries, reader, written
from tests.unit.audit.samples import SECRETS, numbered

COUNT = 30


def follow(folder: Path, url: str) -> int:
    projection = OtlpLogs(url, folder / "mark.json")
    projection.batch = 12
    with closing(reader(folder)) as source:
        while True:
            complete, size = step(source, projection)
            if complete == size:
                assert list(differences(source, projection)) == []
                return complete


def indexes(arrived: Arrived) -> list[int]:
    return [attributes(record.attributes)["lockgate.record.index"] for record in arrived.logs]


def test_every_record_arrives(tmp_path: Path) -> None:
    """With its index, kind, decision, time and leaf; nothing personal."""
    written(tmp_path, entries(COUNT))
    with collector(tmp_path) as arrived:
        assert follow(tmp_path, arrived.url) == COUNT
        until(lambda: len(arrived.logs) == COUNT, "all records had arrived")
    assert sorted(indexes(arrived)) == list(range(COUNT))
    first = next(record for record in arrived.logs if attributes(record.attributes)["lockgate.record.index"] == 0)
    told = attributes(first.attributes)
    assert (told["lockgate.record.kind"], told["lockgate.decision.id"]) == ("decision", numbered(0).id)
    assert (told["lockgate.record.intent"], told["lockgate.record.confidence"]) == ("payment.cancel", 0.931235)
    assert first.time_unix_nano == numbered(0).decided_ns
    with closing(reader(tmp_path)) as source:
        assert first.body.string_value.encode() == next(source.records(0, 1)).leaf
    assert SIGNER.name in arrived.resources
    assert not [secret for secret in SECRETS if any(secret in str(record) for record in arrived.logs)]


def test_what_was_not_marked_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the collector's answer and the mark: twice, never not at all."""
    written(tmp_path, entries(COUNT))

    def broken(*_: object) -> None:
        raise OSError(5, "broken")

    with collector(tmp_path) as arrived:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", broken)
            with pytest.raises(AuditError, match="mark cannot be written"):
                follow(tmp_path, arrived.url)
        assert follow(tmp_path, arrived.url) == COUNT
        until(lambda: len(arrived.logs) == COUNT + 12, "all records had arrived")
    assert sorted(set(indexes(arrived))) == list(range(COUNT))


def test_a_collector_that_is_down_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is marked, and all of it arrives once there is one."""
    monkeypatch.setattr("adapters.otlp_projection.TIMEOUT_S", 0.5)
    written(tmp_path, entries(5))
    (nobody,) = free_ports(1)
    with pytest.raises(AuditError, match="does not take records"):
        follow(tmp_path, f"http://127.0.0.1:{nobody}")
    assert not (tmp_path / "mark.json").exists()
    with collector(tmp_path) as arrived:
        assert follow(tmp_path, arrived.url) == 5
        until(lambda: len(arrived.logs) == 5, "all records had arrived")
