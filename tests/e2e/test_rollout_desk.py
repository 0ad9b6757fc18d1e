"""What is asked of rollouts, one after the other, of one Lockgate: who may what, steps, tenants, and the ways back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.processes import until
from tests.e2e.rolling import PEOPLE, archive, asked, begun, closed_data, events, is_now, move, propose, put, shown
from tests.e2e.running import Lockgate, cli, company
from tests.e2e.test_policy_rollout import FREE


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("rollouts"), people=PEOPLE, gateway={"limits": {"body_timeout": "20s"}}) as made:
        yield made


@pytest.fixture
def lockgate(standing: Lockgate) -> Iterator[Lockgate]:
    """Each test finds the workspace's policies in force."""
    yield standing
    back = standing.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto")
    assert back.status == 200 or back.code == "policy_not_overridden", back.json


def test_who_may_what(lockgate: Lockgate) -> None:
    """Nobody says yes to their own, not even who may everything; an operator may stop but not begin; a look at it needs a right, too."""
    assert propose(lockgate, archive(closed_data()), who="pat").json()["code"] == "permission_missing"
    assert propose(lockgate, archive(closed_data()), who="idle").json()["code"] == "permission_missing"
    own = propose(lockgate, archive(closed_data()), who="root").json()
    assert move(lockgate, own["id"], "approve", "root", digest=own["digest"]).code == "self_approval"
    assert move(lockgate, own["id"], "approve", "ada", digest=own["digest"]).code == "permission_missing"
    assert move(lockgate, own["id"], "approve", "pat", digest="0" * 64).code == "rollout_changed"
    assert propose(lockgate, archive(closed_data())).json()["code"] == "rollout_busy"
    assert move(lockgate, own["id"], "withdraw", "ada").code == "rollout_not_yours"
    assert move(lockgate, own["id"], "withdraw", "root").json["state"] == "withdrawn"
    assert move(lockgate, own["id"], "approve", "pat", digest=own["digest"]).code == "rollout_state"
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{}], "guards": FREE})
    assert move(lockgate, rollout, "advance", "otto").code == "permission_missing"
    assert move(lockgate, rollout, "rollback", "otto", comment="enough").json["state"] == "rolled_back"
    assert shown(lockgate, rollout)["history"][-1]["by"] == "otto"
    assert lockgate.control("GET", "/v1/policy/rollouts/nothing", who="pat").code == "rollout_not_found"


def test_what_cannot_be_used_is_not_proposed(lockgate: Lockgate) -> None:
    """What does not compile, has no tests, or fails them; the same as is in force; and nothing is on record of it."""
    before = events(lockgate)
    broken = {"lockgate/more.rego": "package lockgate.more\n\nx := {"}
    failing = {"lockgate/more_test.rego": "package lockgate.more_test\n\ntest_no if false\n"}
    calling = {"lockgate/more.rego": 'package lockgate.more\n\nx := http.send({"url": "a"})\n'}
    for content, said in (
        (archive(more=broken), "does not compile"),
        (archive(more=failing), "test_no"),
        (archive(more=calling), "http.send"),
        (b"garbage", "not a gzip file"),
    ):
        answer = propose(lockgate, content)
        assert (answer.status_code, answer.json()["code"]) == (422, "candidate_refused"), answer.text
        assert said in str(answer.json()["faults"])
    for plan in ({"steps": [{"share": "5%", "tenants": ["a"]}]}, {"steps": [{"tenants": ["a" * 70_000]}]}):
        bad = propose(lockgate, archive(closed_data()), plan)
        assert (bad.status_code, bad.json()["code"]) == (422, "request_invalid")
    assert events(lockgate) == before
    assert set(asked(lockgate, 3).values()) == {200}


def test_steps_go_on_by_themselves(lockgate: Lockgate) -> None:
    """When their time is over and enough was compared, and not before."""
    rollout = begun(
        lockgate, archive(closed_data()), {"steps": [{"for": "1s"}, {"share": "100%", "for": "1s"}], "least": 5, "guards": FREE}
    )
    until(lambda: shown(lockgate, rollout)["seen"]["compared"] == 0, "nothing was compared")
    assert shown(lockgate, rollout)["step"] == 1
    asked(lockgate, 5)
    until(lambda: shown(lockgate, rollout)["step"] == 2, "the second step began")
    assert set(asked(lockgate, 5).values()) == {403}
    is_now(lockgate, rollout, "promoted")
    assert [each["by"] for each in shown(lockgate, rollout)["history"]] == ["ada", "pat", None, None]


def test_tenants_can_be_the_first(lockgate: Lockgate) -> None:
    """All of theirs, and nobody else's."""
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{"tenants": ["acme"]}, {"share": "100%"}], "guards": FREE})
    assert {who: lockgate.ask(who, "GET", "/items/1").status for who in ("tom", "tim", "ann")} == {"tom": 403, "tim": 200, "ann": 200}
    assert shown(lockgate, rollout)["stage"] == "1 tenant"
    assert move(lockgate, rollout, "rollback", "otto").json["state"] == "rolled_back"
    assert lockgate.ask("tom", "GET", "/items/1").status == 200


def test_what_is_only_tried_never_decides(lockgate: Lockgate) -> None:
    """Without `promote` it ends after the last step, with its figures on record."""
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{"for": "1s"}], "promote": False, "least": 5, "guards": FREE})
    asked(lockgate, 5)
    is_now(lockgate, rollout, "completed")
    assert set(asked(lockgate, 5).values()) == {200}
    event, details = events(lockgate)[-1]
    assert (event, details["flips"]) == ("rollout_completed", 5)


def test_back_to_the_workspace(lockgate: Lockgate) -> None:
    """By hand, once it could serve; what is wrong with it is said, and then nothing changes."""
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{"share": "100%"}], "guards": FREE})
    move(lockgate, rollout, "advance")
    assert "is in force over them" in cli("check", "--config", str(lockgate.yard.config)).stdout
    data = lockgate.yard.data.read_bytes()
    lockgate.yard.data.write_bytes(b"lockgate: [")
    assert lockgate.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto").status == 422
    assert lockgate.ask("ann", "GET", "/items/1").status == 403
    lockgate.yard.data.write_bytes(data)
    assert lockgate.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto").json["override"] is None
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    assert lockgate.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto").code == "policy_not_overridden"
    assert lockgate.control("POST", "/v1/policy/rollback", {"to": "ffff"}, "otto").code == "policy_version_unknown"


def test_what_was_taken_back_decides_no_slow_request_that_began_before(lockgate: Lockgate) -> None:
    """Its body is still on its way while the workspace is changed and the rollout is rolled back."""
    data = closed_data()
    data["lockgate"]["config"]["access"]["risks"].pop("high")
    rollout = begun(lockgate, archive(data), {"steps": [{"share": "100%"}], "guards": FREE})
    head = f"POST /pay/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {lockgate.keys['ann']}\r\ncontent-length: 10\r\n\r\n"
    with socket.create_connection(("127.0.0.1", lockgate.ports["gateway"]), timeout=20) as slow:
        slow.sendall(head.encode() + b"12345")
        assert lockgate.ask("ann", "POST", "/pay/1").status == 403
        catalog = lockgate.yard.folder / "catalog.yaml"
        before = len(lockgate.system("config_changed"))
        put(catalog, catalog.read_bytes() + b"\n# changed\n")
        until(lambda: len(lockgate.system("config_changed")) > before, "the change was taken up")
        assert lockgate.ask("ann", "POST", "/pay/1").status == 403
        assert move(lockgate, rollout, "rollback").json["state"] == "rolled_back"
        slow.sendall(b"67890")
        assert slow.recv(1000).startswith(b"HTTP/1.1 202 ")
