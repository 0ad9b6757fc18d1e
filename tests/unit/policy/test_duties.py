"""An obligation that would deny every request is found before one comes."""

from __future__ import annotations

import pytest

from adapters.rego.duties import duty_faults
from adapters.rego.embedded import trees
from tests.unit.policy.halden import ROOT


def found(*lines: str) -> list[tuple[int, str]]:
    text = "\n".join(("package lockgate.rules.x", "", *lines))
    return [(each.line, each.sentence) for each in duty_faults(trees({"x.rego": text}))]


@pytest.mark.parametrize(
    "line",
    [
        'duty := {"name": "mask", "params": {}}',
        'duties contains {"name": "mask", "params": {"a": input.b}} if input.a',
        'result := {"effect": "allow", "obligations": [{"name": "mask", "params": {}}]}',
        "f(x) := {`name`: `mask`, `params`: x}",
    ],
)
def test_an_unknown_name_is_found_wherever_it_is_written(line):
    """By its line, with the names that there are."""
    ((number, sentence),) = found(line)
    assert number == 3
    assert sentence.startswith("There is no obligation 'mask'; there are mask_body, ")


@pytest.mark.parametrize(
    "params",
    ['{"limit": 3, "per": "1m"}', '{"key": "subject", "limit": 0, "per": "1m"}', '{"key": "subject", "limit": 3, "per": "1 minute"}'],
)
def test_params_that_are_written_out_are_judged(params):
    """As they would be when a request comes."""
    assert found(f'duty := {{"name": "rate_limit", "params": {params}}}') == [
        (3, "The params of the obligation 'rate_limit' are not as they are described.")
    ]


@pytest.mark.parametrize(
    "line",
    [
        'duty := {"name": "rate_limit", "params": {"key": "subject", "limit": 3, "per": "1m"}}',
        'duty := {"name": "rate_limit", "params": {"key": "subject", "limit": input.limit, "per": "1 minute"}}',
        'duty := {"name": "rate_limit", "params": {"key": "subject", "limit": 3, input.x: 1}}',
        'duty := {"name": input.name, "params": {}}',
        'other := {"name": "mask", "params": {}, "more": 1}',
        'other := {"name": "mask"}',
        'other := {"name": 1, "params": {}}',
    ],
)
def test_what_is_no_obligation_or_not_written_out_is_left_alone(line):
    """Only what is certain is said."""
    assert found(line) == []


def test_the_shipped_policies_ask_for_what_there_is():
    """All of them."""
    texts = {str(path): path.read_text() for path in (ROOT / "policies").rglob("*.rego") if "_test" not in path.name}
    assert duty_faults(trees(texts)) == []
    assert len(texts) > 10
