"""What a route of Envoy's may say for itself."""

from __future__ import annotations

import pytest

from router.doors.envoy.messages.envoy_pb2 import Metadata
from router.doors.envoy.overrides import Overrides, overrides, said
from router.errors import RefusedError


def test_nothing_said_is_what_the_door_has() -> None:
    assert overrides({}, 2.0) == Overrides(2.0)


def test_a_body_that_is_not_waited_for_and_a_shorter_deadline() -> None:
    assert overrides({"body": "none", "deadline": "500ms"}, 2.0) == Overrides(0.5, unseen=True)
    assert overrides({"body": "buffered"}, 2.0) == Overrides(2.0, shown=True)


@pytest.mark.parametrize(
    "given", [{"bodies": "none"}, {"body": "None"}, {"deadline": "soon"}, {"deadline": "3s"}, {"deadline": "0s"}, {"body": ""}]
)
def test_what_is_not_understood_is_a_fault(given: dict[str, str]) -> None:
    """Nobody may believe to have said what is not heard."""
    with pytest.raises(RefusedError) as refused:
        overrides(given, 2.0)
    assert (refused.value.code, refused.value.status) == ("envoy_metadata_invalid", 500)


def test_an_earlier_filter_wins_over_the_stream() -> None:
    metadata = Metadata()
    metadata.filter_metadata["lockgate"]["body"] = "none"
    assert said([("x-lockgate-body", "buffered"), ("user-agent", "x")], metadata) == {"body": "none"}


def test_a_value_that_is_no_text_is_not_taken_for_silence() -> None:
    metadata = Metadata()
    metadata.filter_metadata["lockgate"]["body"] = True
    with pytest.raises(RefusedError):
        overrides(said([], metadata), 2.0)
