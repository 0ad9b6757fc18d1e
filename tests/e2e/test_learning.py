"""What people say about decisions of a running Lockgate, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company
from tests.e2e.test_review_desk import FORM, HTML
from tests.e2e.test_reviews import held, shown
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import load, save

SAMPLING = {"sampling": {"random": 1.0, "overlap": 0.0, "seeded": {"share": 0.5}}, "watch": {"least": 1, "accuracy": 0.9}}


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("learning"), learning=SAMPLING) as lockgate:
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


def sampling(lockgate: Lockgate) -> bool:
    """The first decision from which on it samples is there once one of these was taken."""
    lockgate.ask("ann", "GET", "/items/1")
    return bool(lockgate.control("GET", "/v1/labels/sampled").json)


def command(lockgate: Lockgate, *arguments: str, who: str = "max") -> str:
    ran = cli("labels", *arguments, "--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys[who])
    return ran.stdout if ran.returncode == 0 else ran.stderr


def test_a_sampled_decision_is_labelled_blind_and_teaches(learning: Lockgate) -> None:
    """Its text is masked and nothing of the decision is told; the label is in the decision's story and counts as feedback, and the ledger
    verifies."""
    until(lambda: sampling(learning), "sampling began")
    asked = learning.ask("ann", "POST", "/pay/1", {"text": "pay 40 to zoe.quist@example.com"}).decision
    waiting = until(lambda: learning.control("GET", "/v1/labels", who="max").json["labels"], "it was sampled")
    assert len(waiting) == 1
    shown = command(learning, "claim")
    task = waiting[0]["id"]
    assert task in shown
    assert "pay 40 to" in shown
    assert "zoe.quist" not in shown
    claimed = learning.control("POST", "/v1/labels/claim", who="max").json["claimed"]
    assert set(claimed) == {"id", "text", "intents", "until"}
    assert asked not in str(claimed)
    assert command(learning, "answer", task, "look") == "It is on record as look.\n"
    assert [leaf["event"] for leaf in learning.story(asked) if leaf.get("event") in ("feedback", "labelled")] == ["feedback", "labelled"]
    (opinion,) = learning.control("GET", f"/v1/decisions/{asked}/feedback").json["opinions"]
    assert (opinion["verdict"], opinion["intent"], opinion["reason"]) == ("wrong", "look", "labelled")
    assert learning.control("POST", "/v1/labels/claim", who="max").json == {"claimed": None}
    assert learning.control("GET", "/v1/labels/sampled").json["sampled"] == 1
    verified = learning.verify()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_what_was_labelled_says_how_often_it_is_right(learning: Lockgate) -> None:
    """Over the API and on the command line; its floor is a metric. Who may not read the trail is refused."""
    until(lambda: sampling(learning), "sampling began")
    now, before = learning.control("GET", "/v1/drift?span=1h&reference=1h").json["quality"]
    if not now["counted"]:  # it is run alone
        learning.ask("ann", "POST", "/pay/1", {"text": "pay 40 to ruben"})
        until(lambda: learning.control("GET", "/v1/labels", who="max").json["labels"], "it was sampled")
        task = learning.control("POST", "/v1/labels/claim", who="max").json["claimed"]["id"]
        assert learning.control("POST", f"/v1/labels/{task}/answer", {"label": "look"}, who="max").status == 200
        now, before = learning.control("GET", "/v1/drift?span=1h&reference=1h").json["quality"]
    assert (now["counted"], now["accuracy"]["value"], now["accuracy"]["low"], before["counted"]) == (1, 0.0, 0.0, 0)
    assert [(each["intent"], each["labelled"]) for each in now["intents"]] == [("pay", 1)]
    address = f"http://127.0.0.1:{learning.ports['control']}"
    ran = cli("drift", "--span", "1h", "--reference", "1h", "--url", address, "--key", learning.keys["root"])
    assert "1 of 1" in ran.stdout
    assert "0.0 % (0.0 to 79.3)" in ran.stdout
    figures = str(learning.control("GET", "/metrics").body)
    assert "lockgate_learning_accuracy_floor 0.9" in figures
    assert 'lockgate_learning_samples{state="counted"}' in figures  # of a round: it need not have this label yet
    assert learning.control("GET", "/v1/drift", who="max").code == "permission_missing"


def test_an_erased_text_is_not_there_to_label(learning: Lockgate) -> None:
    """The task has no copy of it."""
    learning.ask("bob", "POST", "/pay/2", {"text": "pay 50 to ruben"})
    until(lambda: learning.control("GET", "/v1/labels", who="max").json["labels"], "it was sampled")
    erased = learning.control("POST", "/v1/audit/erasures", {"subject": "bob", "authority": "Olga", "reason": "gdpr_art_17"})
    assert erased.status in (200, 201), erased.body
    assert learning.control("POST", "/v1/labels/claim", who="max").json == {"claimed": None}


def test_who_may_not_label_is_refused(learning: Lockgate) -> None:
    """By policy, in one sentence; so is what nobody claimed."""
    assert learning.control("POST", "/v1/labels/claim", who="idle").code == "permission_missing"
    assert learning.control("POST", "/v1/labels/none/answer", {"label": "pay"}, who="max").code == "label_unknown"
    assert learning.control("POST", "/v1/labels/none/answer", {"label": "fly"}, who="max").code == "feedback_intent_unknown"


@pytest.mark.slow  # it waits for two rounds of sampling
def test_a_known_text_is_seeded_and_teaches_nothing(learning: Lockgate) -> None:
    """Named by a lead, given to a reviewer like a sample; what is said of it is on record by a name of its own, and is no opinion."""
    known = learning.ask("ann", "POST", "/pay/3", {"text": "pay 60 to nobody at all"}).decision
    until(lambda: learning.control("GET", "/v1/labels", who="max").json["labels"], "it was sampled")
    task = learning.control("POST", "/v1/labels/claim", who="max").json["claimed"]["id"]
    assert command(learning, "answer", task, "unsure") == "It is on record as unsure.\n"
    assert command(learning, "know", known, "pay", who="root") == "It is known to be pay.\n"
    assert "labels.seed" in command(learning, "know", known, "pay")
    assert command(learning, "known", who="root") == f"{known}  pay\n"
    learning.ask("ann", "POST", "/pay/4", {"text": "pay 70 to nobody either"})
    until(lambda: learning.control("GET", "/v1/labels", who="mia").json["labels"][1:], "a known one stands beside it")
    for _ in range(2):
        task = learning.control("POST", "/v1/labels/claim", who="mia").json["claimed"]["id"]
        assert learning.control("POST", f"/v1/labels/{task}/answer", {"label": "look"}, who="mia").json == {"id": task, "label": "look"}
    told = [leaf["event"] for leaf in learning.story(known) if leaf["schema"] == "lockgate.system.v1"]
    assert told == ["labelled", "label_known", "label_seeded"]
    assert learning.control("GET", f"/v1/decisions/{known}/feedback").json["opinions"] == []
    assert command(learning, "unknow", known, who="root") == "It is not seeded any more.\n"
    shown = command(learning, "reviewers", who="root")
    assert "too few (1)" in shown
    assert "mia" not in shown
    assert learning.system("audit_read")[-1]["what"] == "reviewers"
    assert command(learning, "reviewers", "--since", "2020-01-01T00:00:00Z", "--until", "2020-02-01T00:00:00Z", who="root").startswith(
        "Nobody"
    )
    assert "reviewers.read" in command(learning, "reviewers")


def rejected(lockgate: Lockgate, review: str, **said: str) -> Answer:
    return lockgate.control("POST", f"/v1/reviews/{review}/reject", {"comment": "Zoe Quist asked about it", **said}, who="max")


def test_a_reviewers_word_becomes_an_opinion(learning: Lockgate) -> None:
    """Said with the rejection, taken from the ledger, and there once after `kill -9` at once; the review is named, and nobody."""
    review = held(learning, "/pay/misrouted")
    assert rejected(learning, review, intent="look").json["state"] == "rejected"
    learning.process.kill()
    learning.start()
    (opinion,) = until(lambda: learning.control("GET", f"/v1/decisions/{review}/feedback").json["opinions"], "it was taken")
    assert (opinion["verdict"], opinion["intent"], opinion["reason"], opinion["review"]) == ("wrong", "look", "misrouted", review)
    said = lambda: [leaf for leaf in learning.story(review) if leaf.get("event") == "feedback"]  # noqa: E731 - shorter so
    (told,) = until(said, "it was on record")
    assert (told["details"]["review"], told["details"]["said_by"], told["details"]["intent"]) == (review, "word", "look")
    assert "Zoe" not in str(told)
    assert "max" not in str(told)
    verified = learning.verify()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_what_a_reviewer_typed_wrong_is_told_before_anything_happens(learning: Lockgate, lockgate: Lockgate) -> None:
    """An intent that is not there, and a Lockgate that learns nothing; without it the same is done."""
    review = held(learning, "/pay/typed")
    assert rejected(learning, review, intent="fly").code == "feedback_intent_unknown"
    assert shown(learning, review)["state"] == "pending"
    assert rejected(learning, review, reason="nonsense").code == "request_invalid"
    other = held(lockgate, "/pay/typed")
    assert rejected(lockgate, other, reason="misrouted").code == "learning_off"
    assert rejected(lockgate, other).json["state"] == "rejected"


def on_the_page(lockgate: Lockgate, review: str, **fields: str) -> Answer:
    body = urlencode({"version": "1", "misrouted": "yes", **fields}).encode()
    place = f"/console/reviews/{review}/reject"
    return ask(lockgate.ports["control"], "POST", place, lockgate.keys["max"], body, content_type=FORM, accept=HTML)


def test_a_reviewer_says_so_on_the_page(learning: Lockgate, lockgate: Lockgate) -> None:
    """Where something is learnt from it; an intent that is not there is told on the page, and nothing has happened."""
    review, question = held(learning, "/pay/page"), b"It was taken for something else"
    assert question in learning.control("GET", f"/console/reviews/{review}", who="max").body
    refused = on_the_page(learning, review, intent="fly")
    assert (refused.status, b"The catalog has no intent" in refused.body) == (422, True)
    assert shown(learning, review)["state"] == "pending"
    assert on_the_page(learning, review, intent="look").status == 303
    (opinion,) = until(lambda: learning.control("GET", f"/v1/decisions/{review}/feedback").json["opinions"], "it was taken")
    assert (opinion["intent"], opinion["review"]) == ("look", review)
    other = held(lockgate, "/pay/page")
    assert question not in lockgate.control("GET", f"/console/reviews/{other}", who="max").body


def test_rules_for_approvals_that_are_broken_are_not_taken_up(learning: Lockgate) -> None:
    """In a sentence with the file; what served goes on, and mended they are taken up."""
    own, config = learning.yard.folder / "own", load(learning.yard.config)
    own.mkdir()
    rule = own / "freeze.rego"
    rule.write_text("package lockgate.learning\n")
    save(learning.yard.config, config | {"learning": {**SAMPLING, "policy": "own"}})
    reload = learning.control("POST", "/v1/config/reload")
    assert (reload.status, reload.code) == (422, "config_invalid")
    problem = learning.control("GET", "/v1/config").json["last_reload_problem"]
    assert "own/freeze.rego:1: Rules for proposals are in the package 'lockgate.learning.own'." in problem
    rule.write_text('package lockgate.learning.own\n\neach_of contains "model_risk" if input.proposal.texts > 0\n')
    assert learning.control("POST", "/v1/config/reload").status == 200
