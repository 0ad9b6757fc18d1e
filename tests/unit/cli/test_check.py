from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.audit.witnesses.cosignature import Cosigner
from router.cli.main import run

Out = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path, capsys: Out) -> Path:
    assert run(["init", str(tmp_path / "demo")]) == 0
    capsys.readouterr()
    return tmp_path / "demo"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_good_workspace_is_summed_up(workspace: Path, capsys: Out) -> None:
    """Counts and digests are shown, and the exit status is 0."""
    assert run(["check", "--config", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert "The workspace is in order." in shown
    assert "6 intents" in shown
    assert "config digest " in shown


def test_machines_get_json(workspace: Path, capsys: Out) -> None:
    """The same as JSON, with nothing else on standard output."""
    assert run(["check", "--json", "--config", str(workspace / "lockgate.yaml")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["faults"] == []
    assert report["intents"] == 6
    assert len(report["digests"]["policy"]) == 64


def test_faults_of_all_files_come_together(workspace: Path, capsys: Out) -> None:
    """One run tells about configuration, catalog and utterances; the exit status is 1."""
    change(workspace / "lockgate.yaml", "min_confidence: 0.7 ", "min_confidence: 70 ")
    change(workspace / "catalog.yaml", "route: ask", "route: aks")
    (workspace / "utterances" / "find_room.txt").write_text("")
    assert run(["check", "--config", str(workspace)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "There is no route 'aks'. Did you mean 'ask'?",
        "The file 'utterances/find_room.txt' has no utterance in it.",
        "'classifier.min_confidence' must be a fraction between 0 and 1, or a percentage such as 1%, not 70.",
    ]


def test_a_faulty_policy_has_its_line(workspace: Path, capsys: Out) -> None:
    """What the policy engine refuses is told in the same form."""
    (workspace / "policies" / "broken.rego").write_text("package lockgate.broken\n\nallow if {\n")
    assert run(["check", "--config", str(workspace)]) == 1
    assert capsys.readouterr().out.startswith("policies/broken.rego:")


def test_what_passes_because_nobody_could_look_is_a_warning(workspace: Path, capsys: Out) -> None:
    """The policies load, and whoever brings them in by a rollout or a signed bundle would be refused."""
    change(workspace / "policies" / "lockgate" / "decision.rego", "input.signals.unknown == []", "input.signals.findings != null")
    rule = workspace / "policies" / "lockgate" / "rules" / "signals" / "unknown" / "unknown.rego"
    change(rule, "\tseen.signals.unknown == []\n", "")
    assert run(["check", "--config", str(workspace)]) == 0
    assert "would stop passes (rbac.granted) also where input.signals.unknown has 'injection'" in capsys.readouterr().out
    assert run(["check", "--json", "--config", str(workspace)]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"][0]["line"] > 0


def test_what_policies_read_and_are_not_shown_is_a_warning(workspace: Path, capsys: Out) -> None:
    """A caller who names another tenant than its own would pass; with the default it is refused."""
    assert run(["check", "--config", str(workspace)]) == 0
    assert "warning" not in capsys.readouterr().out
    change(workspace / "lockgate.yaml", "  on_abstain: clarify", "  forward_headers: [user-agent]\n  on_abstain: clarify")
    assert run(["check", "--config", str(workspace)]) == 0
    assert "warning: policies/data.yaml:13: The header field 'x-tenant' is not in 'gateway.forward_headers'" in capsys.readouterr().out


def test_a_bundle_is_held_against_what_is_shown_here_and_the_catalog(workspace: Path, capsys: Out) -> None:
    """Whoever signed it has neither."""
    change(workspace / "policies" / "data.yaml", "intents: {}", "intents: {find_rooom: {employee: ['*']}}")
    assert run(["policy", "build", str(workspace / "policies"), "--out", str(workspace / "b.tar.gz")]) == 0
    file = workspace / "lockgate.yaml"
    file.write_text(f"{file.read_text()}\npolicy: {{bundle: {{from: b.tar.gz, unsigned: true}}}}\n")
    change(file, "  on_abstain", "  forward_headers: [content-type]\n  on_abstain")
    capsys.readouterr()
    assert run(["check", "--config", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert "warning: data.json:1: The header field 'x-tenant' is not in 'gateway.forward_headers'" in shown
    assert "warning: data.json:1: The catalog has no intent 'find_rooom', so this has no effect. Did you mean 'find_room'?" in shown


def test_held_requests_that_nobody_may_decide_about_are_a_warning(workspace: Path, capsys: Out) -> None:
    """A workspace's policies from before that question was asked load, and no held request could be approved."""
    (workspace / "policies/lockgate/review.rego").unlink()
    run(["check", "--config", str(workspace)])
    assert "no policy has the package 'lockgate.review': nobody may approve or reject one" in capsys.readouterr().out


def test_a_rule_that_nothing_asks_is_a_warning(workspace: Path, capsys: Out) -> None:
    """Until the entry point names it."""
    assert run(["policy", "new", "rule", "payments/limits", "--config", str(workspace)]) == 0
    assert run(["check", "--config", str(workspace)]) == 0
    assert "Nothing asks 'data.lockgate.rules.payments.limits.deny', so it decides nothing" in capsys.readouterr().out
    named = "data.lockgate.rules.payments.limits.deny,\n\t\tdata.lockgate.rules.access.rbac.deny,"
    change(workspace / "policies" / "lockgate" / "decision.rego", "data.lockgate.rules.access.rbac.deny,", named)
    assert run(["check", "--config", str(workspace)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_data_that_no_policy_reads_is_a_warning(workspace: Path, capsys: Out) -> None:
    """Quotas under another name are none."""
    change(workspace / "policies" / "data.yaml", "    quotas:", "    quota:")
    assert run(["check", "--config", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert "warning: policies/data.yaml:17: No policy reads 'lockgate.config.quota', so it has no effect. Did you mean 'quotas'?" in shown


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        (
            "intents: {}\n      risks:\n        low",
            "intents: {cancel_boking: {manager: ['*']}}\n      risks:\n        low",
            24,
            "intent 'cancel_boking'",
        ),
        ("destinations: [], tenants", "destinations: [room], tenants", 39, "destination 'room'"),
    ],
)
def test_a_name_that_the_catalog_has_not_is_a_warning(old: str, new: str, line: int, sentence: str, workspace: Path, capsys: Out) -> None:
    """What was meant to be for managers is for whom the risk level is; what was to be masked is not."""
    change(workspace / "policies" / "data.yaml", old, new)
    assert run(["check", "--config", str(workspace)]) == 0
    assert (
        f"warning: policies/data.yaml:{line}: The catalog has no {sentence}, so this has no effect. Did you mean" in capsys.readouterr().out
    )


def test_files_that_serving_needs_are_looked_for(workspace: Path, capsys: Out) -> None:
    """Key sets and certificates that are not there are faults of the lines that name them."""
    jwt = "identity:\n  jwt: [{issuer: a, audience: b, jwks: {file: keys.json}}]\ncontrol: {tls: {certificate: a.pem, key: b.pem}}\n"
    (workspace / "lockgate.yaml").write_text("version: 1\n" + jwt)
    assert run(["check", "--json", "--config", str(workspace)]) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [(fault["line"], fault["sentence"]) for fault in faults] == [
        (3, "The file 'keys.json' does not exist."),
        (4, "The file 'a.pem' does not exist."),
        (4, "The file 'b.pem' does not exist."),
    ]
    assert {fault["file"] for fault in faults} == {"lockgate.yaml"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://db.example/ledger", "must say sslmode=verify-full"),
        ("mysql://me:hunter2@db/ledger", "must be a URL such as postgresql://user@host/database"),
    ],
)
def test_an_unusable_ledger_store_is_a_fault_with_its_line(
    workspace: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    """Before anything starts, without asking the server, and without the secret in the sentence."""
    monkeypatch.setenv("LEDGER_URL", url)
    config = workspace / "lockgate.yaml"
    change(config, "\naudit:\n", "\naudit:\n  store: {adapter: postgres, url: '${LEDGER_URL}', keys: '${LEDGER_URL}'}\n")
    line = config.read_text().splitlines().index("audit:") + 2
    assert run(["check", "--config", str(workspace)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"lockgate.yaml:{line}: 'audit.store.url': ")
    assert why in out
    assert "hunter2" not in out


def test_a_secret_that_is_not_there_is_a_fault(workspace: Path, capsys: Out) -> None:
    """The file that should hold the URL is named."""
    change(
        workspace / "lockgate.yaml",
        "\naudit:\n",
        "\naudit:\n  store: {adapter: postgres, url: {file: secrets/url}, keys: {file: secrets/url}}\n",
    )
    assert run(["check", "--config", str(workspace)]) == 1
    assert "secrets/url" in capsys.readouterr().out


def test_where_the_subjects_keys_are_is_said(workspace: Path, capsys: Out) -> None:
    """In the ledger's database they would be in its backups, and an erasure would reach none of these: nobody gets that unasked."""
    change(workspace / "lockgate.yaml", "\naudit:\n", "\naudit:\n  store: {adapter: postgres, url: '${LEDGER_URL}'}\n")
    assert run(["check", "--config", str(workspace)]) == 1
    assert "'audit.store.keys' must be set." in capsys.readouterr().out


def test_saved_questions_are_checked(workspace: Path, capsys: Out) -> None:
    """A column that is not there has its file and line, before an auditor asks."""
    change(workspace / "audit-queries.yaml", "where: risk >= 'high'", "where: riks >= 'high'")
    assert run(["check", "--config", str(workspace)]) == 1
    (fault,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("audit-queries.yaml:")]
    assert "'queries.high-risk-without-review' is wrong: In the condition, at character 1: there is no column 'riks'" in fault


COSIGNER = Cosigner("w.example", Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)).verifier


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (None, "The file 'w.policy' does not exist."),
        (f"witness a {COSIGNER} https://w.example\nquorum b\n", "The quorum is 'b', but no earlier line defines a witness or group"),
        ("quorum none\n", "asks for no witness"),
        (f"witness a {COSIGNER}\nquorum a\n", "The witnesses with a URL are too few for the quorum"),
        (f"witness a {COSIGNER} http://w.example\nquorum a\n", "The URL of witness 'a' must be an https:// URL"),
    ],
)
def test_a_witness_policy_that_cannot_be_used_is_told(workspace: Path, capsys: Out, policy: str | None, sentence: str) -> None:
    """Before a start finds it; as one fault with a file and a line, for machines as well."""
    change(workspace / "lockgate.yaml", "audit:\n", "audit:\n  witnesses: {policy: w.policy}\n")
    if policy is not None:
        (workspace / "w.policy").write_text(policy)
    assert run(["check", "--json", "--config", str(workspace)]) == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert sentence in fault["sentence"]
    assert fault["line"] >= 1
