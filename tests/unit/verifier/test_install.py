from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cryptography

from tests.unit.verifier.vectors import raw_bundle, vectors

VERIFIER = Path(__file__).parents[3] / "verifier"
WATCHED = """
import json, sys
from lockgate_verify.cli import main
status = main(sys.argv[1:])
loaded = sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
print(json.dumps({"status": status, "loaded": loaded}))
"""


def test_it_installs_alone_and_loads_nothing_of_lockgate(tmp_path: Path) -> None:
    """Into an empty environment, without a network; `cryptography` and what that needs are lent by this one."""
    run = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout  # noqa: E731 - shorter so
    run(sys.executable, "-m", "venv", "--without-pip", "clean")
    clean = tmp_path / "clean" / "bin" / "python"
    site = Path(run(str(clean), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(tmp_path), str(VERIFIER))
    run(sys.executable, "-m", "pip", *build)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", str(clean), "install", "--no-deps", "--no-index", str(wheel))
    lent = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", "cffi", "_cffi_backend*", "pycparser"):
        for found in lent.glob(name):
            (site / found.name).symlink_to(found)
    bundle = tmp_path / "bundle.json"
    vector = vectors()["one-record"]
    bundle.write_bytes(raw_bundle(vector))
    sentence, watched = run(str(clean), "-I", "-c", WATCHED, str(bundle), "--key", vector["keys"][0]).splitlines()
    assert sentence == vector["sentence"]
    report = json.loads(watched)
    assert report["status"] == 0
    assert "lockgate_verify" in report["loaded"]
    assert not set(report["loaded"]) & {"router", "adapters", "embeddings", "lockgate", "orjson"}
    assert run(str(clean.parent / "lockgate-verify"), str(bundle), "--key", vector["keys"][0]).strip() == sentence
