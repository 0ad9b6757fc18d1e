"""An export that is killed leaves nothing that could be taken for one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from tests.e2e.processes import until
from tests.e2e.running import cli
from tests.unit.audit.ledgers import entries, written

ROOT = Path(__file__).parents[2]
# The export as it is, with a pause at each record.
SLOW = """
import sys, time
from router.audit.copies import formats
from router.cli.main import run
add = formats.JsonLines.add
def slowly(self, found):
    time.sleep(0.002)
    add(self, found)
formats.JsonLines.add = slowly
run(sys.argv[1:])
"""


def test_a_killed_export_is_none(tmp_path: Path) -> None:
    """Neither its file nor its manifest is there; the next one begins anew and is whole."""
    written(tmp_path, entries(2000))
    out = tmp_path / "out"
    arguments = ["audit", "export", "--state", str(tmp_path), "--kind", "all", "--format", "jsonl", "--out", str(out)]
    with subprocess.Popen([sys.executable, "-c", SLOW, *arguments], cwd=ROOT) as exporting:
        until(lambda: any(path.stat().st_size > 10_000 for path in tmp_path.glob(".out.part")), "it had begun")
        exporting.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.glob("*out*")] == [".out.part"]
    told = cli(*arguments)
    assert told.returncode == 0, told.stderr
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    assert (manifest["rows"], manifest["sha256"]) == (2000, sha256(out.read_bytes()).hexdigest())
    assert not (tmp_path / ".out.part").exists()
