"""What Envoy is told beside a request is what the documentation says it is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from google.protobuf.struct_pb2 import Struct

from router.decision import Subject
from router.doors.envoy.answers import denied, go_on, immediate, metadata, stopped
from router.doors.envoy.cases import Stop
from router.doors.envoy.changes import Changes
from router.doors.envoy.messages.envoy_pb2 import CommonResponse, HeaderValueOption
from tests.unit.doors.parts import decision

SET = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
PAGE = Path(__file__).parents[4] / "docs/envoy.md"


def test_all_fields_of_a_name_are_told_wherever_they_stand() -> None:
    """The first replaces what is there, and the others follow it, in the one word for that which Envoy reads; of a denial by ext_authz all
    replace, of which it leaves out none."""
    headers = [(b"link", b"a"), (b"link", b"b"), (b"content-type", b"text/plain"), (b"link", b"c")]
    stop, common = Stop(200, headers, b"", "answered"), CommonResponse()
    go_on(common, Changes(headers, ()))
    immediately = immediate(stop, grpc=False).immediate_response.headers
    for options in (immediately.set_headers, common.header_mutation.set_headers):
        told = [(each.header.key, each.append.value or each.append_action) for each in options]
        assert told == [("link", SET), ("link", True), ("content-type", SET), ("link", True)]
    assert {(each.HasField("append"), each.append_action) for each in denied(stop).denied_response.headers} == {(False, SET)}


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
