"""Header fields that policies read and are never shown are told of."""

from __future__ import annotations

import pytest

from router.config import Config
from router.policy.evaluating import Policies
from router.policy.folder import PolicyFolder, read_folder
from router.policy.hidden import hidden
from tests.unit.policy.halden import ROOT

SHIPPED = read_folder(ROOT / "policies" / "lockgate", ROOT / "policies" / "data.yaml", "lockgate")
BY_DEFAULT = Config.model_validate({"version": 1}).gateway.forward_headers
OWN = "lockgate/rules/own/own.rego"


def told(rule: str, visible: tuple[str, ...] = BY_DEFAULT) -> list[str]:
    folder = PolicyFolder(SHIPPED.path, {**SHIPPED.policies, OWN: rule}, {}, SHIPPED.data, "data.yaml", documents=SHIPPED.documents)
    return [str(each) for each in hidden(folder, Policies(folder).modules, visible)]


def test_what_the_shipped_policies_read_is_shown_by_default() -> None:
    """A caller who names another tenant than its own is refused in every workspace that says nothing else."""
    assert list(hidden(SHIPPED, Policies(SHIPPED).modules, BY_DEFAULT)) == []


def test_a_field_that_a_setting_names_is_told_of_where_the_setting_stands() -> None:
    """By the line of the data."""
    (fault,) = hidden(SHIPPED, Policies(SHIPPED).modules, ("user-agent",))
    assert "header: x-tenant" in (ROOT / "policies" / "data.yaml").read_text().splitlines()[fault.line - 1]
    assert fault.sentence.startswith("The header field 'x-tenant' is not in 'gateway.forward_headers'")


@pytest.mark.parametrize(
    "rule",
    [
        'package lockgate.rules.own\n\ndeny contains "x" if input.request.headers["x-channel"] == "fax"\n',
        'package lockgate.rules.own\n\ndeny contains "x" if fax(input)\n\nfax(seen) if seen.request.headers["x-channel"] == "fax"\n',
        'package lockgate.rules.own\n\ndeny contains "x" if object.get(input.request.headers, "x-channel", "") == "fax"\n',
        'package lockgate.rules.own\n\ndeny contains "x" if object.get(input, ["request", "headers", "x-channel"], "") == "fax"\n',
        'package lockgate.rules.own\n\nimport input.request\n\ndeny contains 1 if object.get(request, ["headers", "x-channel"], 0) == 1\n',
        "package lockgate.rules.own\n\ndeny contains 1 if fax(input)\n\nfax(seen) if object.get(seen.request.headers, `x-channel`, 0)\n",
    ],
    ids=["in a rule", "in a function", "or else nothing", "by a path", "by a path below an import", "or else nothing in a function"],
)
def test_a_field_that_a_policy_names_is_told_of_there(rule: str) -> None:
    """By file and line; not where it is shown."""
    (fault,) = told(rule)
    assert fault.startswith(f"{OWN}:{rule.count(chr(10))}: The header field 'x-channel' is not in")
    assert told(rule, (*BY_DEFAULT, "x-channel")) == []


def test_names_are_in_lower_case() -> None:
    """To show the field would not help."""
    (fault,) = told('package lockgate.rules.own\n\ndeny contains "x" if input.request.headers["Content-Type"] == "fax"\n')
    assert fault.endswith(": The names of header fields are in lower case, so 'Content-Type' is never there; write 'content-type'.")
