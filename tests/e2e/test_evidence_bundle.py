"""Evidence from a running Lockgate to a verifier that knows nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.e2e.processes import inherited, until
from tests.e2e.running import Lockgate, cli

VERIFIER = Path(__file__).parents[2] / "verifier"


def verified(bundle: Path, key: str, *options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "lockgate_verify", str(bundle), "--key", key, "--json", *options]
    ended = subprocess.run(command, env=inherited({"PYTHONPATH": str(VERIFIER)}), capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def public_key(lockgate: Lockgate) -> str:
    return str(json.loads(cli("audit", "verify", "--json", "--state", str(lockgate.state)).stdout)["public_key"])


def test_a_decision_is_proven_over_http_once_a_checkpoint_covers_it(lockgate: Lockgate, tmp_path: Path) -> None:
    """Until then it is a conflict; the bundle verifies, opens nothing, and asking for it is in the trail."""
    decision = lockgate.ask("bob", "GET", "/items/9").decision
    lockgate.outcome(decision)
    path = f"/v1/audit/decisions/{decision}/bundle"
    answer = until(lambda: found if (found := lockgate.control("GET", path)).status != 409 else None, "a checkpoint covered it")
    assert answer.status == 200
    (tmp_path / "bundle.json").write_bytes(answer.body)
    status, said = verified(tmp_path / "bundle.json", public_key(lockgate))
    assert (status, said["decision"], said["opened"]) == (0, decision, [])
    assert [each["leaf"]["schema"] for each in said["records"]] == ["lockgate.decision.v1", "lockgate.outcome.v1"]
    kept = sorted((lockgate.state / "checkpoints").glob("*.checkpoint"))[0]
    wanted = f"{path}?checkpoint={quote(kept.read_text())}"
    (tmp_path / "bundle.json").write_bytes(lockgate.control("GET", wanted).body)
    assert verified(tmp_path / "bundle.json", public_key(lockgate), "--checkpoint", str(kept))[0] == 0
    altered = kept.read_text().splitlines(keepends=True)
    other = "".join([altered[0], altered[1], f"{'A' * 43}=\n", *altered[3:]])
    conflict, nonsense = (lockgate.control("GET", f"{path}?checkpoint={quote(text)}") for text in (other, "x"))
    assert [(each.status, each.code) for each in (conflict, nonsense)] == [(409, "checkpoint_other_history"), (400, "checkpoint_invalid")]
    assert "bundle" in {each.get("what") for each in lockgate.system("audit_read")}


def test_a_field_is_disclosed_by_the_command_beside_a_running_server(lockgate: Lockgate, tmp_path: Path) -> None:
    """With the way from a checkpoint that somebody kept; the server goes on writing meanwhile."""
    kept = until(lambda: sorted((lockgate.state / "checkpoints").glob("*.checkpoint")), "a checkpoint was signed")[0]
    decision = lockgate.ask("bob", "GET", "/items/8").decision
    lockgate.outcome(decision)
    out = tmp_path / "bundle.json"
    arguments = (
        "audit",
        "prove",
        decision,
        "--out",
        str(out),
        "--field",
        "path",
        "--checkpoint",
        str(kept),
        "--state",
        str(lockgate.state),
    )
    until(lambda: cli(*arguments).returncode == 0, "a checkpoint covered it")
    status, said = verified(out, public_key(lockgate), "--checkpoint", str(kept))
    assert status == 0, said["sentence"]
    assert [(each["field"], each["value"]) for each in said["opened"]] == [("path", "/items/8")]
    assert said["outside_checkpoint"] is not None
    altered = out.read_text().replace("/items/8", "/items/7")
    assert "/items/7" in altered
    out.write_text(altered)
    assert verified(out, public_key(lockgate))[0] == 18
