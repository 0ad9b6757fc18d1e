"""Everything that has to run before the first request: servers where there are some, services, the trained model, Lockgate."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from examples.halden.company.programs import check_installed
from examples.halden.demo.company import Company, NotReadyError
from examples.halden.demo.envoy import start_envoy
from examples.halden.demo.people import make_credentials
from examples.halden.demo.workspace import changed, copied

MODELS = Path(".cache/halden-models")


def prepare(console: Console, company: Company, data: Path) -> Mapping[str, str]:
    """The people's credentials. `data` is for a database server. Raises NotReadyError."""
    if company.at_size:
        credentials = _prepare_servers(console, company, data)
    else:
        credentials = make_credentials(company.folder / "state", company.folder / "jwks.json")
    company.settings["HALDEN_EVIDENCE_KEY"] = credentials["back.office"]
    console.print(f"starting Halden's services: {', '.join(company.services)}")
    company.start_services()
    _train(console, company)
    console.print("starting Lockgate")
    company.start_lockgate()
    if "envoy" in company.ports:
        console.print("starting Envoy with what `lockgate envoy config` writes for this workspace")
        start_envoy(company)
    if company.at_size:
        from examples.halden.company.servers import start_worker  # with libraries that a plain demonstration does without

        console.print("starting Halden's Temporal worker")
        start_worker(company)
    return credentials


def _prepare_servers(console: Console, company: Company, data: Path) -> Mapping[str, str]:
    check_installed()
    from examples.halden.company.servers import api_keys, start_servers  # as above

    console.print("starting PostgreSQL, Redis, NATS and Temporal, each on 127.0.0.1 with data of its own")
    start_servers(company, data)
    company.workspace = copied(company.folder)
    changed(company.workspace)
    return make_credentials(company.folder / "state", company.folder / "jwks.json", api_keys(company))


def _train(console: Console, company: Company) -> None:
    console.print("preparing the intent model (trained from the catalog's examples the first time)")
    _keep_models(company, into_state=True)
    command = [sys.executable, "-m", "lockgate", "train", "--config", str(company.workspace / "lockgate.yaml")]
    done = subprocess.run(command, env=company.environment, check=False, stdout=subprocess.DEVNULL)  # progress comes on standard error
    if done.returncode != 0:
        raise NotReadyError("The intent model could not be prepared; why stands above.")
    _keep_models(company, into_state=False)


def _keep_models(company: Company, into_state: bool) -> None:
    """The demonstration's state is new every time; the trained model need not be."""
    state = company.folder / "state" / "models"
    source, target = (MODELS, state) if into_state else (state, MODELS)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
