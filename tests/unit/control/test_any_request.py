"""Whatever is sent to whichever endpoint the OpenAPI document names, the answer is one that it promises: never a failure of the inside."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from router.control.document import openapi_document
from tests.unit.control.conftest import Credential
from tests.unit.control.parts import DECISION

# What tends to break something, beside anything.
ODD = ["", "x", "0", "-1", "1e400", "null", "\x00", "é", "' or 1=1", "../..", DECISION, "r1"]
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(ODD))
ELSEWHERE = ("/v1/audit/certificate",)  # a stream over a real ledger, which the services here have not
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def body(schema: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Of the right shape with any values, or anything."""
    named = parts.get(schema.get("$ref", "").rpartition("/")[2], schema)
    fields = {name: st.one_of(value(each), JSON) for name, each in named.get("properties", {}).items()}
    required = {name: made for name, made in fields.items() if name in named.get("required", ())}
    optional = {name: made for name, made in fields.items() if name not in required}
    return st.one_of(st.fixed_dictionaries(required, optional=optional), JSON)


def value(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = {"integer": st.integers(), "boolean": st.booleans(), "array": st.lists(TEXTS, max_size=3)}
    return kinds.get(schema.get("type", ""), TEXTS)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_request_makes_it_fail(client: TestClient, credential: Credential, data: st.DataObject) -> None:
    """Whoever asks: an administrator, whose requests get furthest."""
    assert isinstance(client.app, FastAPI)
    document = openapi_document(client.app)
    paths = ((path, methods) for path, methods in document["paths"].items() if path not in ELSEWHERE)
    operations = [(path, method, told) for path, methods in paths for method, told in methods.items()]
    path, method, told = data.draw(st.sampled_from(operations))
    query: dict[str, Any] = {}
    for each in told.get("parameters", ()):
        wanted = data.draw(st.one_of(value(each["schema"]), TEXTS))
        if each["in"] == "path":
            path = path.replace("{" + each["name"] + "}", quote(str(wanted) or "x", safe=""))
        elif data.draw(st.booleans()):
            query[each["name"]] = str(wanted)
    sent: Any = None
    if "requestBody" in told:
        content = told["requestBody"]["content"]
        schema = content.get("application/json", {}).get("schema", {})
        sent = data.draw(body(schema, document["components"]["schemas"]))
    answer = client.request(method, re.sub(r"[\r\n]", "", path), params=query, json=sent, headers=credential("admin"))
    assert answer.status_code != 500, (method, path, query, sent, answer.text)
    if answer.status_code >= 400 and path != "/readyz":
        assert answer.json()["code"], answer.text
