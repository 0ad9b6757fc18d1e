"""What holds for every test."""

import asyncio
import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from examples.halden.demo import company
from router.wiring.languages import open_identifier
from router.wiring.prepared_models import LANGUAGES, VARIABLE
from tests.postgres_server import postgres
from tests.redis_server import redis_server

__all__ = ["postgres", "redis_server"]

# How long an example takes says something of the machine and nothing of the code: no test fails by the clock.
settings.register_profile("lockgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lockgate")

# Files are tested side by side, one for each core and one more. Threads of PyTorch that wait for each other keep the cores from the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Of the processes that test side by side each has ports of its own: what one was promised nobody else takes before it listens.
if beside := os.environ.get("PYTEST_XDIST_WORKER"):
    company.port_turns = company.ports_in_turn(int(beside.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))

# Thousands of tests are no garbage, and are not looked at again while they are collected and after.
gc.disable()

SDK = Path(__file__).parent / "unit" / "sdk"
LONGEST = Path(__file__).with_name("longest.txt")
MODELS = Path(__file__).parent.parent / ".cache" / "tests" / "models"


@pytest.fixture(scope="session", autouse=True)
def languages() -> None:
    """Every Lockgate that a test starts has a state of its own, and would unpack the languages' model and write it down there."""
    if VARIABLE not in os.environ:
        open_identifier([], MODELS / LANGUAGES)
        os.environ[VARIABLE] = str(MODELS)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that Lockgate serves on; those of the client that services install on the loop that these have."""
    return {"asyncio": asyncio.new_event_loop} if SDK in item.path.parents else {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest come first: one that began last would keep a core busy alone while the others have nothing left."""
    places = {LONGEST.parent / name: place for place, name in enumerate(LONGEST.read_text().split())}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
