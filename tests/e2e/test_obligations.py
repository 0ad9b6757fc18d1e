"""What policy demands, over two workers with a service behind them."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from shutil import rmtree
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import save
from tests.unit.identity.issuing import ISSUER, jwks, rsa, token

ADMISSION = """package lockgate.admission

result := {"effect": "allow", "obligations": object.get(data.lockgate.config.admission, input.request.path_parts[1], [])}
"""
DECISION = """package lockgate.decision

result := {"effect": "deny", "status": 404, "reasons": [{"code": "test.hidden", "message": "There is nothing here."}]} if {
	input.request.path_parts[1] == "hidden"
} else := {"effect": "allow", "obligations": object.get(data.lockgate.config.duties, input.request.path_parts[1], [])}
"""


def duty(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


DUTIES = {
    "redact": [duty("redact_fields", fields=["/customer/iban"])],
    "copy": [duty("redact_fields", fields=["/secret"]), duty("mirror", destination="service")],
    "lost": [duty("mirror", destination="nobody")],
    "often": [duty("rate_limit", key="subject", limit=5, per="1m"), duty("tag", tags=["counted"])],
    "better": [duty("require_step_up", acr=["gold"], max_age="5m")],
    "short": [duty("limit_response", bytes=20)],
    "100000": [duty("limit_response", bytes=70000)],
    "odd": [duty("sing")],
}


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    folder = tmp_path_factory.mktemp("obligations")
    issuer = {"issuer": ISSUER, "audience": ["lockgate"], "jwks": {"file": "jwks.json"}}
    with prepared(folder, "--workers", "2", identity={"jwt": [issuer]}) as made:
        (folder / "jwks.json").write_bytes(jwks(rsa()))
        rmtree(folder / "policies/lockgate")
        (folder / "policies/admission.rego").write_text(ADMISSION)
        (folder / "policies/decision.rego").write_text(DECISION)
        floods = {"flood": [duty("rate_limit", key="subject", limit=3, per="1h")]}
        save(made.yard.data, {"lockgate": {"config": {"duties": DUTIES, "admission": floods}}})
        made.start()
        yield made


def all_at_once(lockgate: Lockgate, path: str, times: int) -> list[Answer]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: lockgate.ask("ann", "GET", path), range(times)))


def test_the_upstream_never_sees_what_policy_takes_out(lockgate: Lockgate) -> None:
    """Its body is the caller's without the field; a body of another shape does not arrive at all."""
    answer = lockgate.ask("ann", "POST", "/echo/redact", {"customer": {"IBAN": "DE1", "id": 7}})
    assert answer.status == 200
    (seen,) = lockgate.arrived("/echo/redact")
    assert seen["body_digest"] == hashlib.sha256(b'{"customer":{"id":7}}').hexdigest()
    refused = lockgate.ask("ann", "POST", "/echo/redact", {"customer": [{"iban": "DE1"}]})
    assert (refused.status, refused.code, len(lockgate.arrived("/echo/redact"))) == (403, "obligation_failed", 1)
    assert lockgate.story(refused.decision)[0]["verdict"]["effect"] == "deny"


def test_policy_says_with_which_status_it_denies(lockgate: Lockgate) -> None:
    """To the caller, in the record, and on the decide API."""
    answer = lockgate.ask("ann", "GET", "/echo/hidden")
    assert (answer.status, answer.code, answer.json["detail"]) == (404, "test.hidden", "There is nothing here.")
    assert lockgate.story(answer.decision)[0]["outcome"]["status"] == 404
    decided = lockgate.decide("checkout", {"method": "GET", "path": "/echo/hidden"}).json
    assert decided["outcome"] == {"result": "denied", "status": 404, "reason": "test.hidden"}


def test_what_no_version_can_do_is_denied_and_recorded_as_denied(lockgate: Lockgate) -> None:
    """Nothing says that it was allowed."""
    answer = lockgate.ask("ann", "GET", "/echo/odd")
    assert (answer.status, answer.code, lockgate.arrived("/echo/odd")) == (403, "obligation_unknown", [])
    assert lockgate.story(answer.decision)[0]["verdict"]["effect"] == "deny"


def test_exactly_as_many_pass_as_the_quota_says(lockgate: Lockgate) -> None:
    """Over both workers, however they come; others have a quota of their own."""
    answers = all_at_once(lockgate, "/echo/often", 12)
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 7
    assert len(lockgate.arrived("/echo/often")) == 5
    over = next(answer for answer in answers if answer.status == 429)
    assert (over.code, over.fields["ratelimit-policy"]) == ("policy_rate_limited", '"subject";q=5;w=60')
    assert 1 <= int(over.fields["retry-after"]) <= 61
    assert lockgate.story(over.decision)[0]["verdict"]["tags"] == ["counted"]
    assert lockgate.ask("bob", "GET", "/echo/often").status == 200


def test_a_weak_login_is_told_how_to_do_better(lockgate: Lockgate) -> None:
    """By the challenge of RFC 9470; the better token passes, an API key never does."""
    weak, strong = token(acr="silver", **times()).decode(), token(acr="gold", **times()).decode()
    answer = ask(lockgate.gateway, "GET", "/echo/better", weak)
    assert (answer.status, answer.code) == (401, "step_up_required")
    assert 'error="insufficient_user_authentication"' in answer.fields["www-authenticate"]
    assert 'acr_values="gold", max_age="300"' in answer.fields["www-authenticate"]
    assert ask(lockgate.gateway, "GET", "/echo/better", strong).status == 200
    assert lockgate.ask("ann", "GET", "/echo/better").code == "step_up_impossible"
    told = lockgate.decide("checkout", {"method": "GET", "path": "/echo/better"}).json
    assert (told["outcome"]["status"], told["outcome"]["reason"]) == (403, "step_up_impossible")


def times() -> dict[str, int]:
    now = int(time.time())
    return {"iat": now, "exp": now + 300, "auth_time": now - 10}


def test_a_copy_goes_to_another_destination_and_never_in_the_way(lockgate: Lockgate) -> None:
    """As the request went out and without the caller's key; where nobody is, the caller notices nothing."""
    answer = lockgate.ask("ann", "POST", "/echo/copy", {"secret": "x", "a": 1})
    assert answer.status == 200
    until(lambda: len(lockgate.arrived("/echo/copy")) == 2, "the copy arrived")
    both = lockgate.arrived("/echo/copy")
    assert {each["body_digest"] for each in both} == {hashlib.sha256(b'{"a":1}').hexdigest()}
    assert lockgate.ask("ann", "GET", "/echo/lost").status == 200
    page = lambda: ask(lockgate.ports["control"], "GET", "/metrics", lockgate.keys["root"]).body.decode()  # noqa: E731  # asked again
    until(lambda: 'lockgate_mirrors_total{result="failed"' in page(), "the lost copy was counted")


def test_an_answer_that_is_too_long_does_not_pass_for_whole(lockgate: Lockgate) -> None:
    """Announced, it is refused; streamed, the connection ends before the answer does. The outcome says so."""
    refused = lockgate.ask("ann", "GET", "/echo/short")
    assert (refused.status, refused.code) == (502, "response_too_large")
    assert lockgate.outcome(refused.decision)["status"] == 502
    with pytest.raises(http.client.IncompleteRead) as cut:
        lockgate.ask("ann", "GET", "/download/100000")
    assert len(cut.value.partial) <= 70000
    until(lambda: ("failed", 200, "response_too_large") in ends(lockgate), "it was recorded")


def ends(lockgate: Lockgate) -> list[tuple[str, int, str]]:
    outcomes = [leaf["outcome"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.outcome.v1"]
    return [(each["result"], each["status"], each["reason"]) for each in outcomes]


def test_a_flood_at_admission_is_counted_and_buys_no_records(lockgate: Lockgate) -> None:
    """Last, for it stops Lockgate: the refusals are in the ledger as a count, and the ledger is whole."""
    before = decisions(lockgate)
    answers = all_at_once(lockgate, "/echo/flood", 15)
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 12
    assert lockgate.process.stop() == 0
    assert sum(found.get("policy_rate_limited", 0) for found in lockgate.system("refused")) == 12
    assert decisions(lockgate) == before + 3
    assert lockgate.verify().returncode == 0
    asked = cli("audit", "query", "--config", str(lockgate.yard.config), "--where", "tag = 'counted'", "--json")
    tagged = [leaf["id"] for leaf in lockgate.leaves() if "counted" in leaf.get("verdict", {}).get("tags", ())]
    assert len(tagged) == 13
    assert all(decision in asked.stdout for decision in tagged), asked.stderr


def test_what_was_found_out_after_policy_spoke_is_left_out_of_a_replay(lockgate: Lockgate) -> None:
    """By name; everything else is reproduced."""
    done = cli("policy", "replay", "--config", str(lockgate.yard.config), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["differences"], found["not_reproduced"]) == (0, [], []), done.stderr
    assert found["left_out"]["added"] >= 7
    assert found["compared"] > 10


def decisions(lockgate: Lockgate) -> int:
    return sum(leaf["schema"] == "lockgate.decision.v1" for leaf in lockgate.leaves())
