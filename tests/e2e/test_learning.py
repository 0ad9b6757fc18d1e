"""What people say about decisions of a running Lockgate, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.running import Lockgate, cli, company


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("learning"), learning={}) as lockgate:
        yield lockgate


def decision(lockgate: Lockgate, path: str = "/items/1", method: str = "GET") -> str:
    answer = lockgate.ask("ann", method, path)
    assert answer.status == 200
    return answer.decision


def said(lockgate: Lockgate, *arguments: str, who: str = "max") -> str:
    ran = cli("feedback", *arguments, "--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys[who])
    return ran.stdout if ran.returncode == 0 else ran.stderr


def test_an_opinion_is_in_the_story_of_its_decision(learning: Lockgate) -> None:
    """On record before it is answered, in a ledger that verifies, and still there after `kill -9`."""
    looked = decision(learning)
    assert "wrong, and meant pay" in said(learning, "say", looked, "wrong", "--intent", "pay", "--comment", "Zoe Quist paid")
    told = learning.story(looked)[-1]
    assert (told["event"], told["details"]["classified"], told["details"]["intent"]) == ("feedback", "look", "pay")
    assert "Zoe" not in str(told)
    assert "max" not in str(told)
    learning.process.kill()
    learning.start()
    opinions = learning.control("GET", f"/v1/decisions/{looked}/feedback").json
    assert [each["intent"] for each in opinions["opinions"]] == ["pay"]
    assert [each["event"] for each in learning.story(looked) if each.get("event") == "feedback"] == ["feedback"]
    verified = learning.verify()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_who_may_not_is_refused(learning: Lockgate) -> None:
    """Saying and seeing are two permissions."""
    looked = decision(learning)
    body = {"verdict": "right"}
    assert learning.control("POST", f"/v1/decisions/{looked}/feedback", body, who="idle").code == "permission_missing"
    assert learning.control("GET", f"/v1/decisions/{looked}/feedback", who="max").code == "permission_missing"
    assert learning.control("POST", f"/v1/decisions/{looked}/feedback", body, who="max").status == 200


def test_a_service_that_learns_nothing_says_so(lockgate: Lockgate) -> None:
    """With the setting that is missing."""
    answer = lockgate.control("POST", f"/v1/decisions/{decision(lockgate)}/feedback", {"verdict": "right"})
    assert (answer.status, answer.code) == (404, "learning_off")


def test_mistakes_are_told_in_a_sentence(learning: Lockgate) -> None:
    """On the command line as in the API."""
    looked = decision(learning)
    assert said(learning, "say", looked, "wrong", "--intent", "fly") == "lockgate: The catalog has no intent 'fly'.\n"
    assert said(learning, "say", "0198", "right") == "lockgate: There is no record of that decision.\n"
