"""Policies of strangers in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from router.bundle.archive import pack
from router.errors import RefusedError
from router.wiring.policy_trials import Limits, Trials
from tests.unit.bundle.making import ADMISSION, POLICY, TEST

ENDLESS = b"""package lockgate.decision_test

test_for_ever if {
	some i in numbers.range(1, 5000)
	some j in numbers.range(1, 5000)
	some k in numbers.range(1, 5000)
	i + j + k < 0
}
"""
GREEDY = b"""package lockgate.decision_test

test_greedy if count(numbers.range(1, 50000000)) == 1
"""


def trials(**limits: int) -> Trials:
    return Trials(None, None, Limits(**limits))


def archive(test: bytes = TEST, **more: bytes) -> dict[str, bytes]:
    return {
        "bundle": pack(
            {"lockgate/decision.rego": POLICY, "lockgate/admission.rego": ADMISSION, "lockgate/decision_test.rego": test, **more}
        )
    }


def running(what: bytes = b"router.cli.policy.apart", of: int = os.getpid()) -> list[Path]:
    """Of that process's trials, or of what they start, their places under /proc."""
    found = [path for path in Path("/proc").glob("[0-9]*") if what in read(path / "cmdline")]
    return [path for path in found if of in above(path)]


def above(path: Path) -> list[int]:
    """The processes that a process comes from."""
    told = read(path / "stat").rpartition(b")")[2].split()[1:2]
    parent = int(told[0]) if told else 0
    return [parent, *above(Path("/proc", str(parent)))] if parent > 1 else [parent]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def begun(tried: Trials) -> tuple[asyncio.Task[Any], bytes, bytes]:
    """One that does not end by itself, with its process's arguments and environment."""
    task = asyncio.create_task(tried.run("test", [], archive(ENDLESS)))
    while not (found := running()):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.05)
    return task, read(found[0] / "cmdline"), read(found[0] / "environ")


async def test_a_command_answers_as_it_does_in_a_shell() -> None:
    """Its JSON and its exit status; files are named by their paths in the bundle."""
    ran = await trials().run("test", [], archive(TEST + b'\ntest_no if decision.result.effect == "allow"\n'))
    found = json.loads(ran.answer)
    assert (ran.status, found["passed"], found["failed"]) == (1, 1, 1)
    (failed,) = [each for each in found["tests"] if each["outcome"] == "failed"]
    assert (failed["file"], failed["line"]) == ("lockgate/decision_test.rego", 7)


async def test_data_of_a_built_bundle_is_there() -> None:
    """Wherever its documents lie."""
    test = TEST + b"\ntest_data if data.lockgate.config.floor == 7\n"
    for name, content in (("data.json", b'{"lockgate": {"config": {"floor": 7}}}'), ("lockgate/config/data.yaml", b"floor: 7\n")):
        ran = await trials().run("test", [], archive(test, **{name: content}))
        assert json.loads(ran.answer)["passed"] == 2, name


async def test_inputs_are_taken_where_a_command_takes_them() -> None:
    """A line is one; `bench` measures each entry with them."""
    lines = b'{"entry": "decision"}\n{"entry": "admission"}\n'
    ran = await trials().run("bench", ["--rounds=100"], {**archive(), "inputs": lines})
    assert [(each["entry"], each["inputs"]) for each in json.loads(ran.answer) if each["remembered"]] == [("admission", 1), ("decision", 1)]
    ran = await trials().run("bench", ["--rounds=100"], {**archive(), "inputs": b"{\n"})
    assert ran.faults == ("../inputs.jsonl:1: The line is not JSON.",)


async def test_what_cannot_be_used_is_said_in_the_commands_words() -> None:
    """Of an archive, too."""
    ran = await trials().run("eval", [], {**archive(), "input": b"{"})
    assert (ran.status, ran.faults) == (2, ("../input.json:1: The file is not JSON.",))
    for content, sentence in (
        (b"no archive", "The archive 'bundle' is not a gzip file, or was cut off."),
        (pack({"a.rego": POLICY, "a.rego/b.rego": POLICY}), "The archive 'bundle' cannot be unpacked: File exists."),
    ):
        assert (await trials().run("check", [], {"bundle": content})).faults == (sentence,)


async def test_a_new_rule_is_said_and_not_written() -> None:
    """For the policies of a bundle, where there is place for it; the names of files are those within it."""
    lib = {"lockgate/lib/violation.rego": b"package lockgate.lib.violation\n"}
    ran = await trials().run("new", ["pay/limits"], archive(**lib))
    found = json.loads(ran.answer)
    assert (ran.status, found["rule"], found["written"]) == (0, "lockgate/rules/pay/limits/limits.rego", False)
    taken = {found["rule"]: found["files"][0]["text"].encode()}
    ran = await trials().run("new", ["pay/limits"], archive(**lib, **taken))
    assert ran.faults == ("lockgate/rules/pay/limits/limits.rego:1: The file is already there, and nothing is overwritten.",)
    assert "which is not there" in (await trials().run("new", ["pay/limits"], archive())).faults[0]


def cases(**more: bytes) -> dict[str, bytes]:
    text = b"""cases:
  - {note: a pass, query: "x = 1", want_result: [{x: 1}]}
  - {note: a fail, query: "x = 1", want_result: [{x: 2}]}
  - {note: a refusal, query: "x = http.send({})", want_result: [{x: 2}]}
  - {note: stricter, query: "x = 1 / 0", want_result: []}
"""
    return {"cases": pack({"some/cases.yaml": text, "data.yaml": b"cases: none of these\n", **more})}


async def test_cases_are_put_to_the_engine() -> None:
    """What passes, fails, is refused at load or is stricter, each apart; a failure that is known is none to object to."""
    ran = await trials().run("conformance", [], cases())
    found = json.loads(ran.answer)
    assert (ran.status, [found[name] for name in ("pass", "fail", "refused", "stricter")]) == (1, [1, 1, 1, 1])
    assert [(each["file"], each["note"], each["outcome"]) for each in found["cases"]][1] == ("some/cases.yaml", "a fail", "fail")
    ran = await trials().run("conformance", [], {**cases(), "ratchet": b"a fail\n"})
    assert (ran.status, json.loads(ran.answer)["ok"]) == (0, True)
    ran = await trials().run("conformance", [], {"cases": pack({"a.yaml": b"cases: []\n"})})
    assert ran.faults == (".: There is no conformance case in any YAML file below.",)


async def test_what_lies_beside_cases_is_no_program() -> None:
    """Modules in the archive are not taken for Python's own, nor for ours."""
    evil = b"raise SystemExit('a stranger')\n"
    ran = await trials().run("conformance", [], cases(**{"orjson.py": evil, "runpy.py": evil, "router/__init__.py": evil}))
    assert json.loads(ran.answer)["pass"] == 1


async def test_a_case_that_never_ends_ends_with_the_trial() -> None:
    """Its process, too."""
    modules = "package a\np if {\n" + "".join(f"some x{i} in numbers.range(1, 5000)\n" for i in range(3)) + "x0 + x1 + x2 < 0\n}\n"
    endless = json.dumps({"cases": [{"note": "for ever", "modules": [modules], "query": "data.a.p = x", "want_result": []}]}).encode()
    task = asyncio.create_task(trials(seconds=4).run("conformance", [], {"cases": pack({"a.yaml": endless})}))
    while not (found := running(worker := b"router.policy.conformance_worker")):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.02)
    with pytest.raises(RefusedError, match="did not end within 4 s") as caught:
        await task
    assert caught.value.code == "policy_trial_ended"
    assert [path for path in found if worker in read(path / "cmdline")] == []


@pytest.mark.parametrize(
    ("test", "limits", "sentence"),
    [(ENDLESS, {"seconds": 3}, "did not end within 3 s|took more than it may"), (GREEDY, {"memory": 400 << 20}, "took more than it may")],
)
async def test_what_takes_too_much_is_ended(test: bytes, limits: dict[str, int], sentence: str) -> None:
    """Time or memory; nothing of it runs afterwards, and its folder is gone."""
    with pytest.raises(RefusedError, match=sentence) as caught:
        await trials(**limits).run("test", [], archive(test))
    assert (caught.value.code, caught.value.status) == ("policy_trial_ended", 422)
    assert running() == []


async def test_nothing_goes_on_for_who_does_not_wait() -> None:
    """Not even an interpreter that never gives anything back; and what it was about is gone from the disk."""
    task, arguments, _ = await begun(trials())
    folder = json.loads(arguments.split(b"\0")[4])["folder"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running() == []
    assert not os.path.exists(folder)  # noqa: ASYNC240  # a test


async def test_only_so_many_at_once() -> None:
    """Who comes then is told to come again; a place is free again afterwards, whatever happened."""
    tried = trials()
    with tried.slot(), tried.slot(), pytest.raises(RefusedError) as caught, tried.slot():
        pass
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("policy_busy", 429, 5)
    with tried.slot():
        pass


async def test_it_is_told_nothing_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the environment, where secrets are."""
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "s3cret")
    task, _, environment = await begun(trials())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert b"HOME=" in environment
    assert b"SECRET_OF_THE_SERVER" not in environment
