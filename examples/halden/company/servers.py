"""The servers of Halden at its real size, each on loopback with a free port and a password of its own: started, filled with what must be
there, and asked at the end what they hold."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psycopg
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.connection import Server
from examples.halden.company.mail import USER, Streams
from examples.halden.company.programs import in_environment, postgres_user, usable_postgres_programs
from examples.halden.demo.company import SERVICES, Company, NotReadyError, listens

OWN = SERVICES[:-1]
"""Services that stay; the worker has the back office's place."""
DATABASES = ("ledger", "ledger_keys")


def start_servers(company: Company, data: Path) -> None:
    """`data`: a folder for PostgreSQL, which does not run as root and may not see the company's own. Raises NotReadyError."""
    company.services = OWN
    start_nats(company)
    start_redis(company)
    start_postgres(company, data)
    start_temporal(company)


def start_postgres(company: Company, data: Path) -> None:
    programs, port, password = usable_postgres_programs(), company.ports["postgres"], secrets.token_hex(16)
    user = postgres_user()
    file = data / "password"
    file.touch(mode=0o600)
    file.write_text(password)
    if user is not None:
        for each in (data, file):
            os.chown(each, pwd.getpwnam(user).pw_uid, -1)
    given = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", f"--pwfile={file}"]
    command = [f"{programs}/initdb", "-D", f"{data}/cluster", "-U", "postgres", *given]
    made = subprocess.run(command, cwd=data, user=user, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise NotReadyError(f"PostgreSQL's files could not be made: {made.stderr.strip()[-500:]}")
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    command = [f"{programs}/postgres", "-D", f"{data}/cluster", *(f"-c{name}={value}" for name, value in options.items())]
    company.start("postgres", command, user=user, folder=data)
    base = f"postgresql://postgres:{password}@127.0.0.1:{port}"
    company.until("postgres", lambda: _made(base))
    company.settings |= {f"HALDEN_{name.removeprefix('ledger_').upper()}_URL": f"{base}/{name}" for name in DATABASES}


def _made(base: str) -> bool:
    """Whether it answers, with its databases made."""
    try:
        with psycopg.connect(f"{base}/postgres", autocommit=True, connect_timeout=2) as connection:
            for name in DATABASES:
                connection.execute(f"CREATE DATABASE {name}")
    except psycopg.OperationalError:
        return False
    return True


def start_redis(company: Company) -> None:
    password, port = secrets.token_hex(16), company.ports["redis"]
    lines = {"port": port, "bind": "127.0.0.1", "requirepass": password, "save": '""', "appendonly": "no", "dir": company.folder}
    file = company.secret("redis.conf", "".join(f"{name} {value}\n" for name, value in lines.items()))
    company.start("redis", ["redis-server", str(file)])
    company.until("redis", lambda: listens(port))
    company.settings |= {"HALDEN_REDIS": f"127.0.0.1:{port}", "HALDEN_REDIS_PASSWORD": password, "HALDEN_REDIS_KEY": secrets.token_hex(32)}


def start_nats(company: Company) -> None:
    password, port = secrets.token_hex(16), company.ports["nats"]
    store = f'jetstream {{ store_dir: "{company.folder}/nats", sync_interval: always }}'
    login = f"authorization {{ user: {USER}, password: {password} }}"
    file = company.secret("nats.conf", f'listen: "127.0.0.1:{port}"\n{store}\n{login}\n')
    company.start("nats", [str(in_environment("nats-server")), "-c", str(file)])
    company.until("nats", lambda: listens(port))
    company.settings |= {"HALDEN_NATS": f"nats://127.0.0.1:{port}", "HALDEN_NATS_PASSWORD": password}
    streams(company).make()


def start_temporal(company: Company) -> None:
    """The development server, whose namespace `default` is there a moment after it listens."""
    address = f"127.0.0.1:{company.ports['temporal']}"
    line = f"server start-dev --headless --ip 127.0.0.1 --port {company.ports['temporal']} --http-port {company.ports['temporal_http']}"
    file = f"--log-level error --db-filename {company.folder}/temporal.db"
    company.start("temporal", [str(in_environment("temporal")), *line.split(), *file.split()], home=company.folder)
    company.until("temporal", lambda: _answers(address))
    company.settings["HALDEN_TEMPORAL"] = address


def _answers(address: str) -> bool:
    async def ask() -> None:
        await _ended(await Client.connect(address))

    try:
        asyncio.run(ask())
    except (RPCError, RuntimeError):  # the library raises the latter where nobody listens
        return False
    return True


async def _ended(client: Client) -> Counter[str]:
    return Counter([each.status.name.lower() async for each in client.list_workflows() if each.status is not None])


def start_worker(company: Company) -> None:
    """Once the services are there, which it calls."""
    company.start("worker", [sys.executable, "-m", "examples.halden.company.worker", company.settings["HALDEN_TEMPORAL"]])
    company.until("worker", lambda: "working" in (company.folder / "worker.log").read_text(errors="replace"))


def api_keys(company: Company) -> PostgresApiKeys:
    """Not open yet: where nodes share them."""
    return PostgresApiKeys(Server(company.settings["HALDEN_LEDGER_URL"]))


def streams(company: Company) -> Streams:
    return Streams(company.settings["HALDEN_NATS"], company.settings["HALDEN_NATS_PASSWORD"])


def held(company: Company) -> dict[str, int]:
    """What each server has now, by name: nothing of it would be there if the company ran without it."""

    async def workflows() -> Counter[str]:
        return await _ended(await Client.connect(company.settings["HALDEN_TEMPORAL"]))

    found: dict[str, int] = {}
    with psycopg.connect(company.settings["HALDEN_LEDGER_URL"]) as connection:
        for table in ("records", "reviews", "api_keys"):
            row = connection.execute(f"SELECT count(*) FROM lockgate.{table}").fetchone()  # noqa: S608  # a constant
            found[f"PostgreSQL {table.replace('_', ' ')}"] = row[0] if row else 0
    found["Redis keys"] = _redis_keys(company)
    found |= {f"NATS {name}": count for name, count in streams(company).counts().items() if name != "BURIED"}
    ended = asyncio.run(workflows())
    return found | {f"Temporal {state}": ended[state] for state in ("completed", "failed")}


def _redis_keys(company: Company) -> int:
    command = ["redis-cli", "-p", str(company.ports["redis"]), "DBSIZE"]
    told = {**os.environ, "REDISCLI_AUTH": company.settings["HALDEN_REDIS_PASSWORD"]}
    return int(subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout)
