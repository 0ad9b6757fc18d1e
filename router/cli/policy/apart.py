"""`python -I -m router.cli.policy.apart SPEC`: one command of `lockgate policy` with limits on what it may take, for the control process,
which gives it policies of strangers. It reads and writes below the folder that it is given, and is told decisions on standard input."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from router.audit.questions.query import Found
from router.bundle.archive import unpack
from router.bundle.content import merged_data
from router.bundle.documents import DATA
from router.cli.common import print_json
from router.cli.main import run
from router.errors import BundleError

POLICY_DATA = "data.yaml"
FILE_BYTES = 64 << 20
NICE = 10  # requests come first


def main(spec: Mapping[str, Any]) -> int:
    """`folder`; `archives` by the folder below it that each is unpacked into, `plain` those that are no bundles; `at`, the folder below in
    which `arguments` are run; `replay` in their place. `memory` in bytes, `seconds` of the processor and, twice that, of the clock."""
    _limit(spec["memory"], spec["seconds"])
    os.chdir(spec["folder"])
    for name in spec["archives"]:
        try:
            _unpack(Path(f"{name}.tar.gz"), Path(name), f"The archive '{name}'", bundle=name not in spec["plain"])
        except BundleError as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:  # such as a file where another's path has a folder
            print(f"The archive '{name}' cannot be unpacked: {error.strerror}.", file=sys.stderr)
            return 2
    os.chdir(spec["at"])
    return _replayed() if spec["replay"] else run(spec["arguments"])


def _limit(memory: int, seconds: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (most, most))
    signal.alarm(2 * seconds)  # where whoever started this is gone; it ends the process, whatever holds the interpreter
    os.nice(NICE)


def _unpack(archive: Path, folder: Path, where: str, *, bundle: bool) -> None:
    """Data that a built bundle has in one or several documents is put where commands look for it."""
    files = unpack(archive.read_bytes(), where)
    folder.mkdir()
    documents = [name for name in files if bundle and name.rpartition("/")[2] in DATA]
    if documents and documents != [POLICY_DATA]:
        files = {**files, POLICY_DATA: orjson.dumps(merged_data(files))}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _replayed() -> int:
    from router.cli.policy.replay import NOT_REPRODUCED
    from router.policy.evaluating import Policies
    from router.policy.folder import find
    from router.policy.replaying import replay
    from router.policy.reporting import described

    found = replay(_decisions(), Policies(find(Path("."), Path("."))))
    print_json(described(found))
    return NOT_REPRODUCED if found.not_reproduced else 0


def _decisions() -> Iterator[Found]:
    for line in sys.stdin.buffer:
        told = orjson.loads(line)
        yield Found(told["index"], told["leaf"], {"key_id": told["key_id"]}, told["sealed"], told["personal"])


if __name__ == "__main__":
    sys.exit(main(orjson.loads(sys.argv[1])))
