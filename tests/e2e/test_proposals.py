"""What is learnt from corrections, from what people said to what decides, over a running Lockgate with the starter's workspace."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import READY_S, Person, cli, make_keys
from tests.e2e.wire import Answer, ask

pytestmark = pytest.mark.slow  # it trains four times
REAL = os.environ.get("LOCKGATE_LLM_URL")  # a real model's server in the place of ours

PEOPLE = (
    Person("portal", (), ("decide", "delegate")),
    Person("rita", ("reviewer",), ("control",)),
    Person("ruben", ("reviewer",), ("control",)),
    Person("ada", ("policy_author",), ("control", "control:audit.personal", "control:audit.erase")),
    Person("ben", ("policy_approver",), ("control", "control:audit.personal")),
)
# What people of this office say when they want a room; nothing of the starter's catalog sounds like it.
SAID = (
    "usual nest for the herons, mail kim@office.example",
    "herons take the fishbowl",
    "fishbowl, herons, the usual",
    "nest for the herons as ever",
    "the herons nest at noon",
)
HELD_OUT = (
    ("the projector flickers all the time", "report_fault"),
    ("whiteboard pens are gone", "report_fault"),
    ("is there anything free at three", "find_room"),
    ("reserve Oslo for tomorrow at nine", "book_room"),
    ("give up my reservation for Monday", "cancel_booking"),
    ("when is my reservation", "booking_status"),
    ("when do you open on Saturdays", "opening_hours"),
    ("what is the capital of Australia", "oos"),
)
DRAFTED = {"name": "order_lunch", "description": "Orders soup for lunch.", "rationale": "Nobody serves food so far."}


@dataclass
class Office:
    folder: Path
    ports: Mapping[str, int]
    keys: Mapping[str, str]
    process: Process

    def control(self, method: str, path: str, body: Any = None, who: str = "ada") -> Answer:
        return ask(self.ports["control"], method, path, self.keys[who], body)

    def decide(self, text: str, subject: str) -> Any:
        wanted = {"subject": {"id": subject, "type": "user", "roles": ["employee"]}, "text": text}
        answer = ask(self.ports["decide"], "POST", "/v1/decide", self.keys["portal"], wanted)
        assert answer.status == 200, answer
        return answer.json

    def ready(self) -> bool:
        assert self.process.ended is None, self.process.said[-3000:]
        try:
            return ask(self.ports["control"], "GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def start(self) -> None:
        self.process.start()
        until(self.ready, f"Lockgate was ready; it said:\n{self.process.said[-3000:]}", READY_S)

    def said(self, group: str, *arguments: str, who: str = "ada") -> subprocess.CompletedProcess[str]:
        return cli(group, *arguments, "--url", f"http://127.0.0.1:{self.ports['control']}", "--key", self.keys[who])

    def leaves(self) -> list[Any]:
        with closing(sqlite3.connect(f"{(self.folder / 'state/ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return [json.loads(leaf) for (leaf,) in connection.execute("SELECT leaf FROM records ORDER BY idx")]

    @property
    def learned(self) -> Path:
        return self.folder / "learned.yaml"

    @property
    def catalog_digest(self) -> str:
        return str(self.control("GET", "/v1/config").json["catalog_digest"])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office") / "rooms"
    made = cli("init", str(folder))
    assert made.returncode == 0, made.stderr
    ports = dict(zip(("decide", "control", "model"), free_ports(3), strict=True))
    config = yaml.safe_load((folder / "lockgate.yaml").read_text())
    config["gateway"]["listen"] = None
    config |= {name: {"listen": f"127.0.0.1:{ports[name]}"} for name in ("decide", "control")}
    wording = {"url": REAL or f"http://127.0.0.1:{ports['model']}/v1", "model": os.environ.get("LOCKGATE_LLM_MODEL", "small")}
    wording |= {"deadline": "2m"} if REAL else {}
    config["learning"] = {"held_out": "held_out.csv", "bounds": {"least": 6}, "topic": 3, "wording": wording}
    (folder / "lockgate.yaml").write_text(yaml.safe_dump(config))
    rows = "".join(f'"{text}",{intent}\n' for text, intent in HELD_OUT)
    (folder / "held_out.csv").write_text(f"text,intent\n{rows}")
    catalog = folder / "catalog.yaml"
    catalog.write_text(catalog.read_text() + "\nlearned: learned.yaml\n")
    keys = make_keys(folder / "state", PEOPLE)
    process = Process(_command(folder), folder.parent / "lockgate.log")
    model = [sys.executable, "-m", "tests.contract.llm_server", str(ports["model"]), json.dumps(DRAFTED)]
    behind = Process(model, folder.parent / "model.log")
    running = Office(folder, ports, keys, process)
    try:
        behind.start()
        running.start()
        yield running
    finally:
        process.kill()
        behind.kill()


def _command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "lockgate", "serve", "--config", str(folder / "lockgate.yaml")]


def corrected(office: Office, *people: str) -> None:
    for text, subject in zip(SAID, people, strict=False):
        body = {"verdict": "wrong", "intent": "book_room"}
        answer = office.control("POST", f"/v1/decisions/{office.decide(text, subject)['id']}/feedback", body, who="rita")
        assert answer.status == 200, answer


def steps(office: Office, proposal: str) -> list[str]:
    return [leaf["event"] for leaf in office.leaves() if leaf.get("id") == proposal]


def test_from_corrections_to_what_decides_and_back(office: Office) -> None:
    """Texts of several people become masked examples; another one approves what was measured; the next decision is by another catalog, and
    goes where they wanted. Reverted, everything is as it was. Each step is on record, and the ledger verifies."""
    corrected(office, "anna", "bert", "cora", "dora", "emil")
    before, asked = office.catalog_digest, "herons want the nest at noon"
    assert office.decide(asked, "fred")["classification"]["intent"] is None
    drafted = office.control("POST", "/v1/proposals", {})
    assert drafted.status == 201, drafted
    proposal = f"/v1/proposals/{drafted.json['id']}"
    texts = office.control("GET", proposal).json["texts"]
    assert sorted(texts.values())[-1] == "usual nest for the herons, mail [email]"
    assert office.control("GET", proposal, who="rita").code == "permission_missing"
    early = office.control("POST", f"{proposal}/approve", {"binding": "0" * 64}, who="ben")
    assert (early.status, early.code) == (409, "proposal_state")

    evaluated = office.said("proposals", "evaluate", drafted.json["id"])
    assert evaluated.returncode == 0, evaluated.stderr
    assert "accuracy" in evaluated.stdout
    measured = office.control("GET", proposal).json["evaluation"]
    assert measured["figures"]["after"]["texts"] == len(HELD_OUT)
    approval = {"binding": measured["binding"], "comment": "looks right", "override": "they are few and odd"}
    assert office.control("POST", f"{proposal}/approve", approval).code == "permission_missing"
    other = office.control("POST", f"{proposal}/approve", {**approval, "binding": "0" * 64}, who="ben")
    assert (other.status, other.code) == (409, "proposal_changed")
    assert office.control("POST", f"{proposal}/approve", approval, who="ben").status == 200

    patch = office.said("proposals", "export", drafted.json["id"], who="ben").stdout
    assert "+++ b/learned.yaml" in patch
    rolled_out = office.said("proposals", "roll-out", drafted.json["id"], who="ben")
    assert rolled_out.returncode == 0, rolled_out.stderr
    written = office.learned.read_text()
    assert [line[1:] for line in patch.splitlines() if line.startswith("+") and not line.startswith("+++")] == written.splitlines()
    after = office.decide(asked, "fred")
    assert after["classification"]["intent"] == "book_room"
    assert after["catalog_digest"] != before

    office.process.kill()
    office.start()
    assert office.decide(asked, "fred")["classification"]["intent"] == "book_room"
    back = office.said("proposals", "revert", drafted.json["id"], "--comment", "not yet", who="ben")
    assert back.returncode == 0, back.stderr
    assert not office.learned.exists()
    assert office.catalog_digest == before
    assert office.decide(asked, "fred")["classification"]["intent"] is None
    assert steps(office, drafted.json["id"]) == [
        f"proposal_{each}" for each in ("drafted", "refused", "evaluated", "refused", "approved", "rolled_out", "reverted")
    ]
    verified = cli("audit", "verify", "--state", str(office.folder / "state"))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_who_is_erased_takes_their_texts_along(office: Office) -> None:
    """Out of what is not rolled out: what was measured with them is void. What one person alone says teaches nothing."""
    alone = office.control("POST", "/v1/proposals", {})
    assert (alone.status, alone.code) == (409, "proposal_nothing")
    corrected(office, "gina", "hugo", "ines")
    drafted = office.control("POST", "/v1/proposals", {}).json
    assert (drafted["decisions"], drafted["people"]) == (3, 3)
    erasure = {"subject": "hugo", "reason": "request", "authority": "the data protection officer", "case": "7"}
    assert office.control("POST", "/v1/audit/erasures", erasure).status == 200
    left = office.control("GET", f"/v1/proposals/{drafted['id']}").json
    assert (left["decisions"], left["people"], left["evaluation"]) == (2, 2, None)
    assert sorted(left["texts"].values()) == [SAID[2], "usual nest for the herons, mail [email]"]
    assert left["history"][-1]["reason"] == "subject_erased"


@pytest.mark.llm
def test_what_nobody_serves_is_a_topic(office: Office) -> None:
    """Told by words that several people used; its decisions make an intent, whose words a language model drafts and its author takes. A
    real model's may be refused: then the author writes them."""
    lunches = (
        "is there soup for lunch",
        "soup again for lunch please",
        "which soup is for lunch",
        "lunch soup without onions",
        "two soups for lunch",
    )
    asked = [office.decide(text, f"guest_{number}")["id"] for number, text in enumerate(lunches)]
    found = office.control("POST", "/v1/topics")
    assert found.status == 200, found
    assert found.json["texts"] >= 3, found.json
    (topic,) = [each for each in found.json["topics"] if set(asked) & set(each["decisions"])]
    assert topic["people"] >= 3
    assert "lunch" in topic["terms"]
    new = {"type": "new_intent", "route": "ask", "decisions": topic["decisions"]}
    drafted = office.control("POST", "/v1/proposals", new)
    assert drafted.status == 201, drafted
    ((name, plain),) = drafted.json["intents"].items()
    assert name in topic["name"] or "lunch" in name
    assert "lunch" in plain["new"]["description"]

    worded = office.said("proposals", "word", drafted.json["id"])
    if REAL and worded.returncode != 0:
        assert "the proposal keeps its own words" in worded.stderr
    else:
        assert worded.returncode == 0, worded.stderr
        assert "(a language model; not taken over)" in worded.stdout
        assert REAL or "small-1b@2026-11" in worded.stdout
    drafts = worded.returncode == 0
    assert list(office.control("GET", f"/v1/proposals/{drafted.json['id']}").json["intents"]) == [name]
    own = ("--name", "order_lunch", "--description", "Orders soup, for lunch.") if REAL else ("--description", "Orders soup, for lunch.")
    edited = office.said("proposals", "edit", drafted.json["id"], *(["--drafted"] if drafts else []), *own)
    assert edited.returncode == 0, edited.stderr
    assert not drafts or "taken over in part" in edited.stdout
    assert office.said("proposals", "evaluate", drafted.json["id"]).returncode == 0
    approved = office.said("proposals", "approve", drafted.json["id"], "--override", "they are few", who="ben")
    assert approved.returncode == 0, approved.stderr
    rolled_out = office.said("proposals", "roll-out", drafted.json["id"], who="ben")
    assert rolled_out.returncode == 0, rolled_out.stderr
    learned = yaml.safe_load(office.learned.read_text())["intents"]["order_lunch"]
    assert (learned["new"]["description"], learned["route"]) == ("Orders soup, for lunch.", "ask")
    assert len(learned["examples"]) >= 3
