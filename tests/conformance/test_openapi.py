"""The documents of the control API and of the decide API, held against the running process by schemathesis: whatever they allow, and much
that they do not, gets an answer that they declare, in the shape and the media type that they declare, and never a failure of the inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks

from tests.e2e.running import Lockgate, company
from tests.e2e.wire import ask

load_all_checks()
HELD = ("not_a_server_error", "response_schema_conformance", "content_type_conformance", "status_code_conformance")
APIS = {"control": ("/v1/openapi.json", "root"), "decide": ("/openapi.json", "checkout")}
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """Of its own: what is sent reloads, erases, prunes and rolls back."""
    with company(tmp_path_factory.mktemp("openapi")) as lockgate:
        yield lockgate


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("examples", [1, pytest.param(40, marks=pytest.mark.slow)], ids=["short", "long"])
def test_whatever_is_sent_gets_an_answer_that_is_declared(served: Lockgate, api: str, examples: int) -> None:
    """To every operation, as who may do most: what the document allows, and what it does not."""
    path, who = APIS[api]
    port, key = served.ports[api], served.keys[who]
    document = ask(port, "GET", path, key).json
    assert not [path for path, told in document["paths"].items() for each in told.values() if "default" in each["responses"]]
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        for mode in MODES:
            asked += held(found.ok(), mode, examples, f"http://127.0.0.1:{port}", key)
    assert asked >= len(document["paths"]) * examples


def held(operation: Any, mode: Any, examples: int, url: str, key: str) -> int:
    """How many requests were sent. Raises what schemathesis says of an answer that is not declared."""
    checks, asked = [CHECKS.get_one(name) for name in HELD], 0

    @seed(20261129)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=operation.as_strategy(mode))
    def sent(case: Any) -> None:
        nonlocal asked
        asked += 1
        answer = case.call(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30)
        case.validate_response(answer, checks=checks)

    try:
        sent()
    except Unsatisfiable:  # an operation that takes nothing cannot be given anything wrong
        if mode is MODES[0]:
            raise
    return asked
