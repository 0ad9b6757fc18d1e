"""Envoy's configuration of the example company, as text: a change of it is seen in a review.

`LOCKGATE_WRITE_GOLDEN=1 python -m pytest tests/golden/test_envoy.py` writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from router.envoy.formats import documents
from router.envoy.options import Options
from router.envoy.writing import written
from router.settings import Address
from tests.conformance.envoy_workspaces import FILES, halden

HERE = Path(__file__).parent / "envoy"
IN_CLUSTER = {"lockgate": (Address("lockgate.lockgate.svc.cluster.local", 50051),)}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "halden.ext_proc": ("bootstrap", {}),
    "halden.ext_authz": ("bootstrap", {"filter": "ext_authz"}),
    "halden.envoy-gateway": ("envoy-gateway", IN_CLUSTER),
    "halden.istio": ("istio", IN_CLUSTER),
}


@pytest.mark.parametrize("case", CASES)
def test_the_example_is_written_like_this(case: str, tmp_path: Path) -> None:
    """Line by line, without the header, which has digests."""
    form, more = CASES[case]
    text = written(documents(form, halden(tmp_path), Options(files=FILES, **more)).documents, ())
    file = HERE / f"{case}.yaml"
    if os.environ.get("LOCKGATE_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    """The same workspace and options give the same text."""
    workspace = halden(tmp_path)
    assert written(documents("bootstrap", workspace, Options()).documents, ()) == written(
        documents("bootstrap", workspace, Options()).documents, ()
    )
