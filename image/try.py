"""Runs an image's archive without a container engine, as root on Linux: its root read-only, `/tmp` and the state its own, as its user, with
no new privileges and nobody else's mounts. For trying an image where it was built; no isolation to rely on.

    python3 image/try.py [--state FOLDER] [--config FOLDER] dist/lockgate-0.1.0.oci.tar check --config /workspace
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MOUNTS = """set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT"
mount -t tmpfs -o size=256m,mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev" && mknod -m 666 "$ROOT/dev/null" c 1 3 && mknod -m 666 "$ROOT/dev/urandom" c 1 9
mount -t proc proc "$ROOT/proc"
mount --bind "$STATE" "$ROOT/var/lib/lockgate"
[ -z "$CONFIG" ] || { mount --bind "$CONFIG" "$ROOT/etc/lockgate" && mount -o remount,bind,ro "$ROOT/etc/lockgate"; }
"""


class Image:
    """An OCI archive: `config` is what it says about how to run it."""

    def __init__(self, archive: Path) -> None:
        self._archive = tarfile.open(archive)  # noqa: SIM115  # closed by `close`
        manifest = self._json(json.loads(self._read("index.json"))["manifests"][0]["digest"])
        self.config: dict[str, Any] = self._json(manifest["config"]["digest"])["config"]
        self._layers = [layer["digest"] for layer in manifest["layers"]]

    def unpack(self, folder: Path) -> None:
        for digest in self._layers:
            blob = self._archive.extractfile(_blob(digest))
            with tarfile.open(fileobj=blob) as layer:
                layer.extractall(folder, numeric_owner=True, filter="fully_trusted")  # noqa: S202  # an image that was built here
        for name in ("tmp", "dev", "proc", "etc/lockgate", "var/lib/lockgate"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def command(self, root: Path, arguments: list[str]) -> str:
        """In a shell: what runs in it, with its environment and nothing else."""
        inside = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        environment = shlex.join(self.config["Env"])
        user = f"--userspec={self.config['User']}"
        return f"exec env -i {environment} {_tool('setpriv')} --no-new-privs {_tool('chroot')} {user} --groups= {root} {shlex.join(inside)}"

    def close(self) -> None:
        self._archive.close()

    def _json(self, digest: str) -> Any:
        return json.loads(self._read(_blob(digest)))

    def _read(self, name: str) -> bytes:
        file = self._archive.extractfile(name)
        if file is None:
            sys.exit(f"{name} is no file in the archive.")
        return file.read()


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _tool(name: str) -> str:
    for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        if (path := Path(folder) / name).exists():
            return str(path)
    sys.exit(f"{name} is missing on this machine.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run an image's archive, read-only and as its user.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--state", type=Path, help="a folder that is kept, for /var/lib/lockgate")
    parser.add_argument("--config", type=Path, help="a folder for /etc/lockgate")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if os.geteuid():
        sys.exit("Mounting needs root.")
    with TemporaryDirectory(prefix="lockgate-image-") as temporary:
        root, image = Path(temporary, "root"), Image(given.archive)
        root.mkdir()
        image.unpack(root)
        state = given.state or Path(temporary, "state")
        state.mkdir(exist_ok=True)
        os.chown(state, *map(int, image.config["User"].split(":")))
        environment = {
            **os.environ,
            "ROOT": str(root),
            "STATE": str(state.absolute()),
            "CONFIG": str(given.config.absolute()) if given.config else "",
        }
        script = MOUNTS + image.command(root, given.arguments)
        image.close()
        child = subprocess.Popen([_tool("unshare"), "--mount", "sh", "-c", script], env=environment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: child.terminate())
        code = child.wait()
    sys.exit(code)


if __name__ == "__main__":
    main()
