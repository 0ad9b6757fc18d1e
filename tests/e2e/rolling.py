"""Candidates for the policies of the yard, and what a test asks of their rollouts."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import requests

from router.bundle.archive import pack
from router.bundle.build import collect
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person
from tests.e2e.yard import ROOT, policy_data

PEOPLE = (
    *(Person(f"u{number}", ("employee",)) for number in range(40)),
    Person("ann", ("employee",)),
    Person("tom", ("employee",), tenant="acme"),
    Person("tim", ("employee",), tenant="other"),
    Person("ada", ("policy_author",), ("control",)),
    Person("pat", ("policy_approver",), ("control",)),
    Person("otto", ("operator",), ("control",)),
    Person("root", ("admin",), ("control",)),
    Person("idle", ("viewer",), ("control",)),
)
CLOSED = """
# METADATA
# description: Nobody looks at items any more.
package lockgate.rules.request.closed

deny contains {"code": "request.closed", "message": "Items are closed."} if input.request.path_parts[0] == "items"
"""
CLOSED_TEST = """package lockgate.rules.request.closed_test

import data.lockgate.rules.request.closed

test_items_are_closed if count(closed.deny) == 1 with input as {"request": {"path_parts": ["items", "1"]}}

test_others_are_not if count(closed.deny) == 0 with input as {"request": {"path_parts": ["echo"]}}
"""


def closed_data() -> dict[str, Any]:
    """Under it nobody is granted a low risk: `GET /items/1` is denied."""
    data = deepcopy(policy_data())
    data["lockgate"]["config"]["access"]["risks"].pop("low")
    return data


def archive(data: dict[str, Any] | None = None, more: dict[str, str] | None = None) -> bytes:
    """The shipped policies with their tests, as somebody would propose them."""
    texts = {**collect(ROOT / "policies").texts, **{name: text.encode() for name, text in (more or {}).items()}}
    return pack({**texts, "data.json": orjson.dumps(data if data is not None else policy_data())})


def propose(
    lockgate: Lockgate, content: bytes, plan: dict[str, Any] | None = None, who: str = "ada", comment: str = ""
) -> requests.Response:
    files: dict[str, Any] = {"bundle": content, "comment": comment.encode()}
    if plan is not None:
        files["plan"] = json.dumps(plan).encode()
    url = f"http://127.0.0.1:{lockgate.ports['control']}/v1/policy/rollouts"
    return requests.post(url, files=files, headers={"authorization": f"Bearer {lockgate.keys[who]}"}, timeout=60)


def begun(lockgate: Lockgate, content: bytes, plan: dict[str, Any]) -> str:
    """Proposed by Ada and approved by Pat."""
    answer = propose(lockgate, content, plan)
    assert answer.status_code == 201, answer.text
    proposed = answer.json()
    approved = move(lockgate, proposed["id"], "approve", "pat", digest=proposed["digest"])
    assert approved.status == 200, approved.json
    return str(proposed["id"])


def move(lockgate: Lockgate, rollout: str, what: str, who: str = "pat", **body: Any) -> Any:
    return lockgate.control("POST", f"/v1/policy/rollouts/{rollout}/{what}", body, who)


def shown(lockgate: Lockgate, rollout: str, who: str = "pat") -> Any:
    return lockgate.control("GET", f"/v1/policy/rollouts/{rollout}", who=who).json


def is_now(lockgate: Lockgate, rollout: str, state: str) -> Any:
    return until(lambda: (found := shown(lockgate, rollout))["state"] == state and found, f"the rollout was {state}")


def events(lockgate: Lockgate) -> list[tuple[str, Any]]:
    """System records about policies, in order."""
    found = [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.system.v1"]
    return [(leaf["event"], leaf["details"]) for leaf in found if leaf["event"].startswith(("rollout_", "policy_"))]


def asked(lockgate: Lockgate, callers: int = 40, path: str = "/items/1") -> dict[str, int]:
    """The status that each caller gets."""
    return {f"u{number}": lockgate.ask(f"u{number}", "GET", path).status for number in range(callers)}


def put(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
