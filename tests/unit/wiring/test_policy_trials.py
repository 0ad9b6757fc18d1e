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


def running(of: int = os.getpid()) -> list[Path]:
    """Of that process's trials, their places under /proc."""
    found = [path for path in Path("/proc").glob("[0-9]*") if b"router.cli.policy.apart" in read(path / "cmdline")]
    return [path for path in found if read(path / "stat").rpartition(b")")[2].split()[1:2] == [str(of).encode()]]


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
