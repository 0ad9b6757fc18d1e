"""What several obligations ask for together is what the strictest of them asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Obligation
from router.errors import PolicyError
from router.obligations import added_headers, read, response_limit, seconds, strictest_review, tags


def duties(name: str, *params: dict[str, Any]) -> list[Obligation]:
    return [Obligation(name, each) for each in params]


ROLES = st.lists(st.sampled_from("abc"), max_size=3, unique=True)
REVIEWS = st.fixed_dictionaries(
    {}, optional={"quorum": st.integers(1, 4), "expires": st.sampled_from(["30m", "2h", "1d", "90s"]), "reviewers": ROLES}
)


@given(st.lists(REVIEWS, max_size=4))
def test_a_joined_review_is_passed_only_by_what_passes_each(wanted: list[dict[str, Any]]) -> None:
    """The most people, the soonest end, only common reviewers; or an error where nobody is left."""
    named = [set(each["reviewers"]) for each in wanted if each.get("reviewers")]
    common = set.intersection(*named) if named else set()
    if named and not common:
        with pytest.raises(PolicyError) as caught:
            strictest_review(duties("require_review", *wanted))
        assert caught.value.code == "obligation_failed"
        return
    joined = strictest_review(duties("require_review", *wanted))
    assert set(joined.get("reviewers", [])) == common
    assert joined.get("quorum", 1) == max([each.get("quorum", 1) for each in wanted], default=1)
    ends = [seconds(each["expires"]) for each in wanted if "expires" in each]
    assert ("expires" in joined) == bool(ends)
    assert not ends or seconds(joined["expires"]) == min(ends)


def test_the_least_answer_counts() -> None:
    """And none that is not said."""
    assert response_limit(duties("limit_response", {"bytes": 9}, {"bytes": 4})) == 4
    assert response_limit(duties("log", {"fields": ["a"]})) is None


def test_tags_are_a_set() -> None:
    """Each once, in one order."""
    assert tags(duties("tag", {"tags": ["b", "a"]}, {"tags": ["a"]})) == ("a", "b")


def test_a_header_field_cannot_have_two_values() -> None:
    """Which of them counted would be chance; the same value twice is one."""
    assert added_headers(duties("add_headers", {"headers": {"X-A": "1"}}, {"headers": {"x-a": "1", "x-b": "2"}})) == {
        "x-a": "1",
        "x-b": "2",
    }
    with pytest.raises(PolicyError) as caught:
        added_headers(duties("add_headers", {"headers": {"x-a": "1"}}, {"headers": {"X-A": "2"}}))
    assert caught.value.code == "obligation_failed"


@pytest.mark.parametrize("key", ["intent", "subject_intent", "tenant_intent", "route"])
def test_at_admission_nothing_is_counted_by_what_is_not_known_yet(key: str) -> None:
    """After classification it is."""
    params = {"key": key, "limit": 1, "per": "1m"}
    assert read("rate_limit", params).params == params
    with pytest.raises(PolicyError) as caught:
        read("rate_limit", params, "admission")
    assert caught.value.code == "obligation_failed"


def test_an_unknown_name_is_not_repeated_at_length() -> None:
    """The sentence is for a log."""
    with pytest.raises(PolicyError) as caught:
        read("x" * 500, {})
    assert caught.value.code == "obligation_unknown"
    assert len(str(caught.value)) < 130
