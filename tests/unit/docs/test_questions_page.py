"""The page's lines answer the twenty questions: each is run as it stands there, against a ledger about which the answer is known."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.files import read_sealing_key
from router.audit.questions.columns import ALIASES, COLUMNS, RECORD
from router.audit.questions.saved import FILE, saved_queries
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.cli.main import run
from router.config.evidence import AuditConfig
from router.control.app import create_app
from router.control.key_orders import key_order
from router.control.services import ControlServices
from router.identity.key_service import KeyService
from router.wiring.questions import AuditQuestions
from tests.unit.audit.ledgers import records_of
from tests.unit.control.parts import Desk, Process
from tests.unit.docs import asked_ledger as asked
from tests.unit.docs.pages import ROOT, page
from tests.unit.identity.parts import HandClock, open_keys

PAGE = page("questions.md")
SECTIONS = re.findall(r"^### (\d+)\. (.*?)\n(.*?)(?=^### |^## )", PAGE, re.MULTILINE | re.DOTALL)
LINES = [
    (int(number), line)
    for number, _, text in SECTIONS
    for fence in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for line in fence.splitlines()
]
STARTER = ROOT / "router" / "cli" / "starter" / FILE
Said = Callable[[str, asked.Ledger], bool]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> asked.Ledger:
    folder = tmp_path_factory.mktemp("asked")
    shutil.copy(STARTER, folder / FILE)
    shutil.copytree(ROOT / "policies", folder / "policies", ignore=shutil.ignore_patterns("control", "learning"))
    return asked.make(folder)


class Recorded:
    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []

    async def system(self, event: str, details: dict[str, Any]) -> None:
        self.records.append((event, details))


@pytest.fixture
def control(ledger: asked.Ledger, tmp_path: Path) -> Iterator[tuple[TestClient, KeyService, Recorded]]:
    """The control API over the same files, with the questions that a server answers."""
    root, recorded = ledger.folder.parent, Recorded()
    workspace = SimpleNamespace(
        path=lambda name: root / name, ledger_store=None, config=SimpleNamespace(state="state", audit=AuditConfig())
    )
    subjects = CachedSubjectKeys(KeyFile(ledger.folder / "keys.sqlite", read_sealing_key(ledger.folder / "keys" / "sealing.key")))
    questions, clock = AuditQuestions(workspace, subjects, recorded), HandClock()
    store = open_keys(tmp_path, clock)
    keys = KeyService(store, clock)
    with TestClient(create_app(ControlServices(questions, Desk(), keys, Process())), base_url="http://127.0.0.1:8081") as client:
        client.portal.call(subjects.open)
        yield client, keys, recorded
        client.portal.call(questions.close)
        client.portal.call(subjects.close)
    store.close()


def found(output: str, ledger: asked.Ledger) -> set[str]:
    """Names of the decisions that the output tells of."""
    return {name for name, decision in ledger.ids.items() if decision in output}


def only(*names: str) -> Said:
    return lambda output, ledger: found(output, ledger) == set(names)


def says(*texts: str) -> Said:
    return lambda output, _: all(text in output for text in texts)


def both(*checks: Said) -> Said:
    return lambda output, ledger: all(check(output, ledger) for check in checks)


def table(output: str) -> list[list[str]]:
    """Cells of a table's rows; between two columns there are two spaces."""
    return [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]


def key(ledger: asked.Ledger, subject: str) -> str:
    file = KeyFile(ledger.folder / "keys.sqlite", read_sealing_key(ledger.folder / "keys" / "sealing.key"))
    file.open()
    try:
        return str(file.find(subject))
    finally:
        file.close()


def person(output: str, ledger: asked.Ledger, subject: str) -> list[str]:
    return next(row[1:] for row in table(output) if row[0] == key(ledger, subject))


def opened_reviews(output: str, ledger: asked.Ledger) -> bool:
    rows = [json.loads(line) for line in output.splitlines()]
    told = {(row["personal"]["reviewer"], row["leaf"]["event"], row["personal"].get("comment", "")) for row in rows}
    return len(rows) == 4 and {(asked.CLEO, "approved", "checked with the payer"), (asked.CLEO, "rejected", "not this account")} < told


def proven_before(output: str, ledger: asked.Ledger) -> bool:
    """The record lies in the tree that its checkpoint signs, below the size of the one that was kept on the first day."""
    kept = note_checkpoint((ledger.folder.parent / "kept" / "first.note").read_text(encoding="utf-8"))
    leaves = records_of(ledger.folder)
    for row in map(json.loads, output.splitlines()):
        tree, proof = note_checkpoint(row["checkpoint"]), [bytes.fromhex(step) for step in row["inclusion"]]
        if row["index"] >= kept.size or not verify_inclusion(leaf_hash(leaves[row["index"]][0]), row["index"], tree.size, proof, tree.root):
            return False
    return len(output.splitlines()) == 2


def bundled(_: str, ledger: asked.Ledger) -> bool:
    """Both records of the decision are in the file, proven in the checkpoint of the second day."""
    made = json.loads((ledger.folder.parent / "proof.json").read_text(encoding="utf-8"))
    return (made["decision"], len(made["records"])) == (ledger.ids["plain"], 2) and note_checkpoint(made["checkpoint"]).size > 32


def failing(output: str, _: asked.Ledger) -> bool:
    rows = {(row["tenant"], row["result"]): row for row in csv.DictReader(io.StringIO(output))}
    return rows["lund", "failed"]["count"] == "1" and rows["lund", "failed"]["duration_p95"] == "3.000000"


def periods(output: str, _: asked.Ledger) -> bool:
    told = {row[0]: row[1:] for row in table(output)[1:-1]}
    return (
        {part: row[2] for part, row in told.items()}
        == {"classifier": "some went on", "upstream": "closed", "policy": "closed", "signals": "closed", "ledger": "closed", "away": "away"}
        and told["ledger"][5] == "7"
        and told["away"][:2] == ["2025-11-25 09:09:00", "2025-11-25 09:19:00"]
        and "encoder_unavailable" in output
    )


def again(output: str, ledger: asked.Ledger) -> bool:
    """What had one outcome under a key of its own is not among them."""
    rows = table(output)
    told = [row[2:] for row in rows if ledger.ids["retried"] in row]
    return (
        found(output, ledger) == {"approved", "upstream", "retried", "repeated"}
        and [(row[0], row[3:6]) for row in told] == [("outcome", ["2", "routed", "200"]), ("decision", ["2", "routed", "200"])]
        and all(text in output for text in ("redispatched", "delivery_retried", "failed", "idempotency_replayed"))
    )


M1, M2 = "a1a1a1a1a1a1…", "a2a2a2a2a2a2…"
EVERYTHING_OF_ANNA = only(
    "plain", "unsure", "approved", "rejected", "stamped", "expired", "lost", "closed", "fallback", "policy", "blind"
)  # fmt: skip
CHAIN = both(
    only("plain"), says("classification.intent", "payment.cancel", "verdict.reasons", "rbac.granted", "route.why", "inclusion proof")
)
SURE = says("payment.cancel", "0.931", "payment.status", "0.800", "0.700")
BETWEEN = both(only("unsure"), says("0.650"))
ANSWERS: dict[int, list[Said]] = {
    1: [CHAIN, both(only("plain"), says('"inclusion"', "payment.cancel")), CHAIN, CHAIN],
    2: [SURE, SURE],
    3: [
        lambda out, _: (
            [row[:1] + row[1:2] + row[4:5] for row in table(out)[1:-1]]
            == [["2025-11-24T00:00:00Z", M1, "10"], ["2025-11-25T00:00:00Z", M2, "9"]]
        ),
        lambda out, _: [row[2] for row in table(out)[1:-1]] == ["started", "config_changed", "started"] and "f1f1f1f1f1f1…" in out,
        lambda out, _: (
            [(group["model_digest"], group["count"]) for group in json.loads(out)["groups"]] == [("a1" * 32, 10), ("a2" * 32, 9)]
        ),
    ],
    4: [says("allow", "rbac.granted", "r7", "f0f0f0f0f0f0…", "embedded")],
    5: [
        says("16 of 17 decisions would be decided otherwise", "1 whose subject was erased", "1 for which policy had failed"),
        both(only("plain"), says("1 of 1 decision would be decided otherwise", "allow rbac.granted → deny")),
    ],
    6: [BETWEEN, BETWEEN, only("unsure")],
    7: [only("bold"), only("bold")],
    8: [both(only("approved", "rejected", "stamped", "own"), says("review", "routed", "denied")), opened_reviews],
    9: [only("own")],
    10: [only("expired"), only("rejected"), says("6 were held", "1 were closed by time-out", "1 wait now", "1 of them longer than agreed")],
    11: [
        lambda out, ledger: (
            person(out, ledger, asked.CLEO) == ["2", "1", "1", "40.0 min", "2.0 h", "0", "0%", "0", "0"]
            and person(out, ledger, asked.DAN) == ["2", "2", "0", "3.000 s", "5.0 min", "1", "50%", "0", "1"]
        )
    ],
    12: [EVERYTHING_OF_ANNA, EVERYTHING_OF_ANNA],
    13: [lambda out, _: "1 records" in out and "2025-11-25" in out, says("verified", "2 erased")],
    14: [says("3 readings", "tenant = 'halden'"), both(says("2 readings", "export", "opened")), says("2 readings", "file")],
    15: [says("verified", "one from outside over 32 records"), says("verified", "and one from outside over")],
    16: [proven_before, lambda out, _: json.loads(out)["ok"] and json.loads(out)["outside_checkpoint"] == 32, bundled],
    17: [only("lost"), both(only(), says("1 record", "orders", "event_invalid")), only("lost")],
    18: [again],
    19: [periods],
    20: [
        says("approved", "rejected", "expired", "16.7%"),
        says("lund", "failed", "5.3%", "3.000"),
        failing,
    ],
}


def test_the_page_has_twenty_questions_in_order() -> None:
    """None is left out, and each has a line."""
    assert [int(number) for number, _, _ in SECTIONS] == list(range(1, 21))
    assert {number for number, _, _ in SECTIONS} == {str(number) for number, _ in LINES}
    assert [len(ANSWERS[number]) for number in ANSWERS] == [sum(line[0] == number for line in LINES) for number in ANSWERS]


PLACED = [(number, line, ANSWERS[number][[one for one in LINES if one[0] == number].index((number, line))]) for number, line in LINES]


@pytest.mark.parametrize(("number", "line", "answer"), [each for each in PLACED if each[1].startswith("lockgate")])
def test_a_line_of_the_page_gives_the_right_answer(
    ledger: asked.Ledger, number: int, line: str, answer: Said, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there, in the folder that has the state and the saved questions."""
    monkeypatch.chdir(ledger.folder.parent)
    monkeypatch.setenv("COLUMNS", "400")
    assert run(shlex.split(line)[1:]) == 0
    captured = capsys.readouterr()
    assert answer(captured.out, ledger), captured.out + captured.err


@pytest.mark.parametrize(("number", "line", "answer"), [each for each in PLACED if each[1].startswith("curl")])
def test_a_request_of_the_page_gives_the_right_answer(
    ledger: asked.Ledger, control: tuple[TestClient, KeyService, Recorded], number: int, line: str, answer: Said
) -> None:
    """With an auditor's key; and the answer leaves a record of who asked for what."""
    client, keys, recorded = control
    plain = keys.create(key_order("page", "audrey", roles=("auditor",), scopes=("control",)), "test")[1]
    _, header, value, url = shlex.split(line)
    assert (header, value) == ("-H", "Authorization: Bearer $KEY")
    response = client.get(url, headers={"authorization": f"Bearer {plain}"})
    assert response.status_code == 200, response.text
    assert answer(response.text, ledger), response.text
    assert [event for event, _ in recorded.records] == ["audit_read"]
    assert "anna" not in json.dumps(recorded.records)


def test_personal_fields_over_http(ledger: asked.Ledger, control: tuple[TestClient, KeyService, Recorded]) -> None:
    """Masked for an auditor, opened for who was granted that besides, and recorded as such."""
    client, keys, recorded = control
    url = f"/v1/audit/decisions/{ledger.ids['plain']}?personal=true"
    for scopes, state, text in ((("control",), "masked", "***"), (("control", "control:audit.personal"), "opened", "cancel 4711 for anna")):
        plain = keys.create(key_order("page", "audrey", roles=("auditor",), scopes=scopes), "test")[1]
        record = client.get(url, headers={"authorization": f"Bearer {plain}"}).json()["records"][0]
        assert (record["sealed"], record["personal"]["text"]) == (state, text)
        assert recorded.records[-1][1]["opened"] == (state == "opened")
        assert recorded.records[-1][1]["filters"] == f"id = '{ledger.ids['plain']}'"


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("/v1/audit/records?where=riks='high'", 400, "audit_query_invalid"),
        ("/v1/audit/stats?by=time", 400, "audit_query_invalid"),
        ("/v1/audit/stats?bucket=0s", 400, "audit_query_invalid"),
        ("/v1/audit/queries/how-sure", 400, "audit_query_invalid"),
        ("/v1/audit/queries/nothing", 404, "not_found"),
        ("/v1/audit/records?cursor=x", 400, "request_invalid"),
    ],
)
def test_a_mistake_over_http_is_one_sentence(control: tuple[TestClient, KeyService, Recorded], url: str, status: int, code: str) -> None:
    """The caller's, so not 5xx."""
    client, keys, _ = control
    plain = keys.create(key_order("page", "audrey", roles=("auditor",), scopes=("control",)), "test")[1]
    response = client.get(url, headers={"authorization": f"Bearer {plain}"})
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


def test_every_column_has_a_row() -> None:
    """Name, kind and what it says, as the code has them."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|$", PAGE, re.MULTILINE)
    wanted = []
    for one in (RECORD, *COLUMNS.values()):
        marks = [mark for mark, has in (("inherited", one.inherited), ("later", one.late)) if has]
        wanted.append((one.name, one.kind.value, "; ".join([one.about, *marks])))
    assert rows == wanted
    assert all(f"`{name}`" in PAGE for name in ALIASES)


def test_the_shipped_questions_are_the_twenty() -> None:
    """The starter's and the example's file are the same, each is in order, and the page uses those that are conditions."""
    shipped = saved_queries(STARTER)
    assert STARTER.read_bytes() == (ROOT / "examples" / "halden" / FILE).read_bytes()
    assert len(shipped) >= 20
    used = set(re.findall(r"lockgate audit ask ([a-z-]+)", PAGE)) | set(re.findall(r"/v1/audit/queries/([a-z-]+)", PAGE))
    assert used <= set(shipped)
    assert {name for name, saved in shipped.items() if saved.where and saved.question} - used <= {"versions", "which-rule"}
