"""What Envoy is told beside a request is what the documentation says it is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from google.protobuf.struct_pb2 import Struct

from router.decision import Subject
from router.doors.envoy.answers import metadata, stopped
from router.doors.envoy.cases import Stop
from tests.unit.doors.parts import decision

PAGE = Path(__file__).parents[4] / "docs/envoy.md"


def test_the_page_names_what_the_metadata_have() -> None:
    """All of a decision's, and all of a refusal's."""
    text = re.search(r"Dynamic metadata under(.*?)\. Later filters", PAGE.read_text(), re.DOTALL)
    assert text is not None
    listed, refused = text[1].partition("):")[2].split(";")
    made = decision(subject=Subject("ann", "user", (), (), "halden", {}, "api_key"))
    made = replace(made, classification=replace(made.classification, confidence=0.9))
    decided, ended = Struct(), Struct()
    metadata(decided, made, "a")
    stopped(ended, Stop(403, [], b"", "rbac.no_grant", "d-1"))
    assert set(re.findall(r"`(\w+)`", listed)) == set(decided.fields)
    assert set(re.findall(r"`(\w+)`", refused)) == set(ended.fields)
