"""The table of connections has every setting that is an address, names none that there is not, and tests that there are."""

from __future__ import annotations

import ast
import json
import re

import pytest

from router.cli.reference import Setting, settings
from tests.unit.docs.pages import DOCS, ROOT, page

TEXT = page("tls.md")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| to |")]
LINK = re.compile(r"\[(\w+)\]\(\.\./([\w/.]+)\)")
PATH = re.compile(r"`([a-z_0-9]+(?:\[\])?(?:\.[A-Za-z_0-9]+(?:\[\])?)+)`")
# What is an address by its name; and what says of itself that it is one, by its kind or in its description.
ADDRESS = {
    "listen",
    "url",
    "address",
    "host",
    "hosts",
    "server",
    "servers",
    "brokers",
    "endpoint",
    "issuer",
    "target",
    "otlp",
    "nodes",
    "region",
}
SAYS_SO = re.compile(r"\b(URLs?|address|host and port|endpoint)\b")
# Named by one of these words, and connected to by nobody.
NO_CONNECTION = {
    "control.sign_in.oidc.public_url": "where browsers come from",
    "audit.witnesses.ca": "authorities; where witnesses are stands in the policy file",
    "identity.jwt[].issuer": "a name in tokens; their keys are at jwks",
    "nodes": "a block",
    "review.link": "a link in notices",
}


def known() -> list[Setting]:
    schemas = (json.loads((DOCS / "reference" / f"{name}.schema.json").read_text(encoding="utf-8")) for name in ("config", "catalog"))
    return [each for schema in schemas for each in settings(schema)]


def is_address(setting: Setting) -> bool:
    name = setting.path.rpartition(".")[2].removesuffix("[]")
    text = any(kind in setting.kind for kind in ("text", "host and port"))
    return "host and port" in setting.kind or (text and (name in ADDRESS or SAYS_SO.search(setting.description) is not None))


def listed() -> set[str]:
    """Settings that the rows of connections name, with what stands for one adapter's alone taken as it is."""
    return {found for row in ROWS for found in PATH.findall(row.split(" | ")[1])}


def test_every_address_that_can_be_set_is_in_the_table() -> None:
    """Whoever adds a setting that is one says here what TLS it has, or that nobody connects there."""
    missing = sorted({each.path for each in known() if is_address(each)} - listed() - NO_CONNECTION.keys())
    assert missing == []


def test_whatever_has_tls_settings_of_its_own_is_in_the_table() -> None:
    """An address that goes by another name would be found by these."""
    near = {path.rpartition(".")[0] for path in listed()}
    owners = {each.path.rpartition(".")[0] for each in known() if each.path.rpartition(".")[2] in ("tls", "ca", "client_ca")}
    owners -= {each.path for each in known() if each.path.endswith("tls")}
    assert sorted(owner for owner in owners if owner not in near) == []


def test_the_table_names_no_setting_that_there_is_not() -> None:
    assert listed() - {each.path for each in known()} == set()


def test_every_adapter_with_an_address_is_named_in_its_row() -> None:
    """`destinations.NAME.url` stands for many: each of them by its name."""
    for path in sorted(listed()):
        rows = "\n".join(row for row in ROWS if f"`{path}`" in row)
        for adapter in {each.condition for each in known() if each.path == path and each.condition and is_address(each)}:
            assert f"`{adapter}`" in rows or adapter in ("postgres", "redis", "qdrant", "opa", "otlp"), (path, adapter)


@pytest.mark.parametrize(("name", "path"), sorted(set(LINK.findall(TEXT))))
def test_what_is_said_is_shown_by_a_test(name: str, path: str) -> None:
    """A function of that name at the top of that file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_a_row_without_a_test_says_so() -> None:
    rows = [row for row in ROWS if not row.startswith(("| listener", "| who |", "|---"))]
    assert len(rows) > 30
    assert [row for row in rows if not LINK.search(row) and "not shown" not in row] == []
