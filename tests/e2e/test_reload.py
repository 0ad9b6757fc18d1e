"""Taking up a changed workspace and ending, both under load, without a request that fails."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.load import Load
from tests.e2e.load import load as constant_load
from tests.e2e.processes import group, until
from tests.e2e.running import Lockgate, company
from tests.e2e.wire import Answer
from tests.e2e.yard import load, save

START = Callable[..., Lockgate]
ENOUGH = 100


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("reload")) as lockgate:
        yield lockgate


@pytest.fixture
def changing(shared: Lockgate) -> Iterator[Lockgate]:
    """A Lockgate whose workspace may be changed; afterwards it is as it was."""
    shared.forget()
    files = {path: path.read_bytes() for path in shared.yard.folder.rglob("*") if path.suffix in (".yaml", ".rego")}
    before = digest(shared)
    yield shared
    for path, content in files.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
    shared.process.signal(signal.SIGHUP)
    until(lambda: (now := description(shared))["config_digest"] == before and now["last_reload_problem"] is None, "all was as before")


def description(lockgate: Lockgate) -> Any:
    return lockgate.control("GET", "/v1/config").json


def digest(lockgate: Lockgate) -> str:
    return str(description(lockgate)["config_digest"])


def change_catalog(lockgate: Lockgate, name: str) -> None:
    path = lockgate.yard.folder / "catalog.yaml"
    save(path, load(path) | {"name": name})


def new_digest(lockgate: Lockgate, *former: str) -> str:
    return until(lambda: (now := digest(lockgate)) not in former and now, "the changed configuration was live")


def until_recorded(lockgate: Lockgate, *digests: str) -> list[Any]:
    """The records of these changes, and of no others. A configuration is live a moment before its record is written."""

    def found() -> list[Any] | None:
        records = lockgate.system("config_changed")
        return records if len(records) >= len(digests) else None

    records = until(found, "the changes were recorded")
    assert [each["config_digest"] for each in records] == list(digests)
    return records


def digest_of_next(lockgate: Lockgate) -> str:
    return str(lockgate.story(lockgate.ask("ann", "GET", "/echo/next").decision)[0]["config_digest"])


def nothing_failed(seen: Load) -> bool:
    return set(seen.statuses) == {200} and not seen.broken


def test_a_changed_catalog_is_taken_up_under_load(start: START) -> None:
    """A change of the catalog's file is live within moments: the next decision carries the new digest, and no request failed meanwhile."""
    lockgate = start("--workers", "2")
    first = digest(lockgate)
    with constant_load(lockgate, 2) as seen, constant_load(lockgate, 2, keep=False) as fresh:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        change_catalog(lockgate, "second")
        second = new_digest(lockgate, first)
        after = seen.answered
        assert digest_of_next(lockgate) == second
        until(lambda: seen.answered > after + ENOUGH, "load went on")
    assert nothing_failed(seen), (seen.statuses, seen.broken)
    assert nothing_failed(fresh), (fresh.statuses, fresh.broken)
    until_recorded(lockgate, second)


def with_words(lockgate: Lockgate, *more: str) -> None:
    """The catalog with two intents that are told apart by a trained model; `more` are further examples of the first."""
    path = lockgate.yard.folder / "catalog.yaml"
    document = load(path)
    document["routes"]["said"] = {"destination": "service", "path": "/echo/said", "method": "POST"}
    for intent, verb in (("wander", "walk"), ("dine", "eat")):
        examples = [f"I want to {verb} {where}" for where in ("now", "at noon", "in the park", "with a friend", "tomorrow", "at home")]
        examples += [f"{start} {verb} together" for start in ("let us", "may we", "shall we", "can we", "please", "we would like to")]
        document["intents"][intent] = {"description": f"Wants to {verb}.", "risk": "low", "route": "said", "examples": examples}
    document["intents"]["wander"]["examples"] += more
    save(path, document)


def test_another_model_is_taken_up_under_load(prepare: START) -> None:
    """New examples are trained while the former model answers; then the new one does, and no request failed on the way."""
    patient = {"static": False, "cache": 0, "min_confidence": 0, "min_margin": 0, "min_scope": 0, "deadline": "20s"}
    lockgate = prepare("--workers", "2", classifier=patient)
    with_words(lockgate)
    save(lockgate.yard.data, lax(load(lockgate.yard.data)))
    lockgate.start()
    first = digest(lockgate)
    with constant_load(lockgate, 2, words="I want to walk in the park") as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        with_words(lockgate, "a stroll along the river", "off for a hike")
        new_digest(lockgate, first)
        after = seen.answered
        until(lambda: seen.answered > after + ENOUGH, "load went on")
    assert nothing_failed(seen), (seen.statuses, seen.broken)
    leaves = [leaf for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1"]
    models = [leaf["classification"]["model_digest"] for leaf in leaves]
    assert {leaf["classification"]["intent"] for leaf in leaves} == {"wander"}
    assert len(set(models)) == 2
    assert models[0] != models[-1]


def test_changed_data_touches_nothing_but_the_policies(prepare: START) -> None:
    """A grant that is taken away is gone within moments, by itself, and on record; the models' files are not even there meanwhile, so that
    whatever looked at them would have to train anew. Data that is wrong changes nothing."""
    lockgate = prepare(classifier={"static": False, "cache": 0, "min_confidence": 0, "min_margin": 0, "min_scope": 0, "deadline": "20s"})
    with_words(lockgate)
    save(lockgate.yard.data, lax(load(lockgate.yard.data)))
    save(lockgate.yard.config, load(lockgate.yard.config) | {"policy": {"data": ["policies/data.yaml", "tables"]}})
    (lockgate.yard.folder / "tables").mkdir()
    tables = lockgate.yard.folder / "tables" / "regions.yaml"
    save(tables, {"lockgate": {"config": {"regions": {"yard": "eu"}}}})
    lockgate.start()
    first = description(lockgate)
    before = lockgate.ask("ann", "POST", "/said", {"text": "I want to walk in the park"})
    shutil.move(lockgate.state / "models", lockgate.state / "models-away")
    data = load(lockgate.yard.data)
    del data["lockgate"]["config"]["access"]["risks"]["low"]
    save(lockgate.yard.data, data)
    second = new_digest(lockgate, first["config_digest"])
    after = lockgate.ask("ann", "POST", "/said", {"text": "I want to walk in the park"})
    assert (before.status, after.status, after.code) == (200, 403, "rbac.no_grant")
    decided = [lockgate.story(each.decision)[0] for each in (before, after)]
    assert len({each["classification"]["model_digest"] for each in decided}) == 1
    (changed,) = until_recorded(lockgate, second)
    assert (changed["config_digest"], changed["catalog_digest"]) == (second, first["catalog_digest"])
    assert decided[0]["verdict"]["digest"] != decided[1]["verdict"]["digest"]
    save(tables, {"lockgate": {"config": {"access": {"anonymous": True}}}})
    problem = until(lambda: description(lockgate)["last_reload_problem"], "the key that comes twice was refused")
    assert "'lockgate.config.access.anonymous' is in 'policies/data.yaml' already" in problem
    assert digest(lockgate) == second
    assert not (lockgate.state / "models").exists()


def test_an_altered_model_is_not_taken_up(prepare: START) -> None:
    """Changed on the disk since it was trained, it is refused with its name, and the one in memory goes on answering."""
    lockgate = prepare(classifier={"static": False, "cache": 0, "min_confidence": 0, "min_margin": 0, "min_scope": 0, "deadline": "20s"})
    with_words(lockgate)
    save(lockgate.yard.data, lax(load(lockgate.yard.data)))
    lockgate.start()
    first = digest(lockgate)
    (arrays,) = (lockgate.state / "models" / "by-digest").glob("*/arrays.npz")
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)
    with constant_load(lockgate, 2, words="I want to walk in the park") as seen:
        change_catalog(lockgate, "second")
        problem = until(lambda: description(lockgate)["last_reload_problem"], "the model was refused")
        until(lambda: seen.answered > ENOUGH, "load went on")
    assert arrays.parent.name in problem
    assert digest(lockgate) == first
    assert nothing_failed(seen), (seen.statuses, seen.broken)


def lax(data: Any) -> Any:
    """Policies' data by which no confidence is too low: what is tried is which model answers, and not how sure it is."""
    data["lockgate"]["config"]["confidence"]["risks"] = dict.fromkeys(("low", "medium", "high", "critical"), 0)
    return data


def test_a_changed_policy_decides_the_next_request(changing: Lockgate) -> None:
    """A grant that is taken away in the policies' data no longer holds, once the process was told by SIGHUP."""
    lockgate = changing
    first = digest(lockgate)
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    data = load(lockgate.yard.data)
    del data["lockgate"]["config"]["access"]["risks"]["low"]
    save(lockgate.yard.data, data)
    lockgate.process.signal(signal.SIGHUP)
    new_digest(lockgate, first)
    refused = lockgate.ask("ann", "GET", "/items/1")
    assert (refused.status, refused.code) == (403, "rbac.no_grant")


def test_a_broken_file_changes_nothing(changing: Lockgate) -> None:
    """A configuration with a fault keeps the last good one serving and says so in one sentence; mended, it is taken up."""
    lockgate = changing
    first = digest(lockgate)
    path = lockgate.yard.folder / "catalog.yaml"
    good = load(path)
    with constant_load(lockgate, callers=2) as seen:
        save(path, good | {"surprise": 1})
        problem = until(lambda: description(lockgate)["last_reload_problem"], "the fault was told")
        assert "catalog.yaml:" in problem
        assert "surprise" in problem
        assert digest(lockgate) == first == digest_of_next(lockgate)
        reload = lockgate.control("POST", "/v1/config/reload")
        assert (reload.status, reload.code) == (422, "config_invalid")
        after = seen.answered
        until(lambda: seen.answered > after + 500, "load went on")
        told = lockgate.process.said.count("the changed workspace is not used")
        assert told == 2, "the log lies in the folder that is watched, and must not have it refused for ever"
        save(path, good | {"name": "mended"})
        new_digest(lockgate, first)
        until(lambda: description(lockgate)["last_reload_problem"] is None, "the fault was forgotten")
    assert nothing_failed(seen), (seen.statuses, seen.broken)


def test_a_policy_that_does_not_compile_changes_nothing(changing: Lockgate) -> None:
    """The same for Rego: what decides goes on deciding."""
    lockgate = changing
    first = digest(lockgate)
    (lockgate.yard.folder / "policies/lockgate/decision.rego").write_text("package lockgate.decision\n\nresult := {")
    until(lambda: description(lockgate)["last_reload_problem"], "the fault was told")
    assert digest(lockgate) == first
    assert lockgate.ask("ann", "GET", "/items/1").status == 200


def test_a_request_under_way_keeps_its_configuration(changing: Lockgate) -> None:
    """A request that waits at the service while the configuration changes is answered, and recorded under the one it began with."""
    lockgate = changing
    first = digest(lockgate)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(lockgate.ask("ann", "GET", "/hold/x")))
    asking.start()
    try:
        until(lambda: lockgate.arrived("/hold/x"), "the request was at the service")
        change_catalog(lockgate, "second")
        new_digest(lockgate, first)
    finally:
        lockgate.release()
        asking.join()
    assert answers[0].status == 200
    assert lockgate.story(answers[0].decision)[0]["config_digest"] == first


@pytest.mark.slow
def test_a_reload_under_load_again_and_again(start: START) -> None:
    """Several changes in a row, each under load: every one is live in the end and nothing failed."""
    lockgate = start("--workers", "2")
    seen_digests = [digest(lockgate)]
    with constant_load(lockgate) as seen:
        for number in range(12):
            change_catalog(lockgate, f"number-{number}")
            seen_digests.append(new_digest(lockgate, *seen_digests))
    assert nothing_failed(seen), (seen.statuses, seen.broken)
    until_recorded(lockgate, *seen_digests[1:])


def test_sigterm_finishes_what_is_under_way(start: START) -> None:
    """SIGTERM: no new connection is accepted, the request that waits at the service is answered, `stopped` is the last record, exit 0."""
    lockgate = start()
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(lockgate.ask("ann", "GET", "/hold/x")))
    asking.start()
    try:
        until(lambda: lockgate.arrived("/hold/x"), "the request was at the service")
        lockgate.process.signal(signal.SIGTERM)
        until(lambda: not lockgate.accepts(), "nothing more was accepted")
    finally:
        lockgate.release()
        asking.join()
    assert lockgate.process.wait() == 0
    assert answers[0].status == 200
    assert [leaf["schema"] for leaf in lockgate.story(answers[0].decision)] == ["lockgate.decision.v1", "lockgate.outcome.v1"]
    assert lockgate.leaves()[-1]["event"] == "stopped"
    assert lockgate.workers() == []
    verified = lockgate.verify()
    assert verified.returncode == 0, verified.stdout


def test_sigterm_does_not_wait_for_a_model(prepare: START) -> None:
    """While a model is trained, which may take minutes, it ends as at any time: what trains ends with it, and it never serves."""
    lockgate = prepare()
    catalog = load(lockgate.yard.folder / "catalog.yaml")
    catalog["routes"]["asked"] = {"destination": "service", "path": "/asked", "method": "POST"}
    for name in ("leave", "payment"):
        examples = [f"{name} number {number}" for number in range(1000)]
        catalog["intents"][name] = {"route": "asked", "description": f"About {name}.", "risk": "low", "examples": examples}
    save(lockgate.yard.folder / "catalog.yaml", catalog)
    lockgate.process.start()
    until(lambda: "encode: " in lockgate.process.said, "the examples were read")
    lockgate.process.signal(signal.SIGTERM)
    assert lockgate.process.wait() == 0
    assert group(lockgate.process.pid) == []
    assert [leaf["event"] for leaf in lockgate.leaves()] == ["started", "stopped"]
    assert "head: " not in lockgate.process.said
    assert "Lockgate serves" not in lockgate.process.said


def test_sigterm_under_load_leaves_no_request_half_done(start: START) -> None:
    """Ended under load by SIGTERM: nothing but refused or closed connections is seen by callers, and everything that reached the service
    has its outcome on record."""
    lockgate = start("--workers", "2")
    with constant_load(lockgate, callers=8) as seen:
        until(lambda: seen.answered > ENOUGH, "there was some load")
        lockgate.process.signal(signal.SIGTERM)
        assert lockgate.process.wait() == 0
    assert set(seen.statuses) == {200}
    assert set(seen.broken) <= {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}
    outcomes = {leaf["id"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.outcome.v1"}
    reached = {dict(each["headers"])["x-lockgate-decision-id"] for each in lockgate.arrivals()}
    assert reached == outcomes
    assert lockgate.leaves()[-1]["event"] == "stopped"
