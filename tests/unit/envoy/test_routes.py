"""Which requests are asked about without their body: those that no earlier rule takes or looks into."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import Match
from router.envoy.options import Options
from router.envoy.routes import overlap, path_regex, routes
from router.stages.rule import Rule
from router.stages.rules import RuleIndex
from tests.conformance.envoy_workspaces import PLAIN, workspace

UPLOAD = {"name": "upload", "match": {"path": "/upload/{rest...}"}, "no_intent": True, "route": "streamed"}
ROUTES = {"plain": {"destination": "desk"}, "streamed": {"destination": "desk", "stream": True}}


def entries(folder: Path, *earlier: dict[str, Any]) -> list[str]:
    """Names of the entries for requests that are not decided about yet, in order."""
    rules = [{"name": f"rule-{number}", "no_intent": True, "route": "plain", **each} for number, each in enumerate(earlier)]
    made = workspace(folder, {"desk": PLAIN}, ROUTES, rules=[*rules, UPLOAD])
    return [each["name"] for each in routes(made, Options()) if "direct_response" in each]


@pytest.mark.parametrize(
    ("match", "read"),
    [
        ({"method": "POST", "path": "/upload/scan/{id}"}, True),
        ({"path": "/upload"}, True),
        ({"path": "/{any}/{id}"}, True),
        ({"path": "/{rest...}", "method": "PUT"}, True),
        ({"header": {"x-kind": "scan"}}, True),
        ({"json": {"$.kind": "scan"}}, True),
        ({"path": "/uploads/{rest...}"}, False),
        ({"path": "/"}, False),
    ],
)
def test_an_earlier_rule_has_its_bodies_read(match: dict[str, Any], read: bool, tmp_path: Path) -> None:
    """Before those of the later one go on unread, and only if one request may be of both."""
    found = entries(tmp_path, {"match": match})
    assert found == ["unread grpc", *(["read rule-0"] if read else []), "unread upload", "nowhere"]


def test_the_order_is_the_rules(tmp_path: Path) -> None:
    """A rule that streams needs nothing before it, unless it looks into bodies; one after it does not come first."""
    scan = {"match": {"path": "/upload/scan/{id}"}, "route": "streamed"}
    looking = {"match": {"path": "/upload/{kind}", "json": {"$.kind": "scan"}}, "route": "streamed"}
    assert entries(tmp_path / "a", scan, looking) == ["unread grpc", "unread rule-0", "read rule-1", "unread upload", "nowhere"]


def template(parts: list[str], rest: bool) -> str:
    """Each name once, as a template must have it."""
    return "/" + "/".join(
        [*(f"{{x{place}}}" if part == "*" else part for place, part in enumerate(parts)), *(["{rest...}"] if rest else [])]
    )


PATHS = st.builds(template, st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3), st.booleans())
ASKED = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end, st.lists(st.sampled_from(["a", "b", "c"]), max_size=4), st.sampled_from(["", "/"])
)


def takes(pattern: str, path: str) -> bool:
    return RuleIndex([Rule("r", path=pattern)]).look("GET", path, (), None).match is not None


@given(PATHS, ASKED)
def test_entries_are_as_wide_as_they_say(pattern: str, path: str) -> None:
    """What goes unread the rule takes, and what is read for a rule is all that it takes."""
    if re.fullmatch(path_regex(pattern), path):
        assert takes(pattern, path)
    if takes(pattern, path):
        assert re.fullmatch(path_regex(pattern, most=True), path)


@given(PATHS, PATHS, ASKED)
def test_no_overlap_is_missed(one: str, other: str, path: str) -> None:
    """Two rules that may take the same request are told so."""
    if takes(one, path) and takes(other, path):
        assert overlap(Match(path=one), Match(path=other))
