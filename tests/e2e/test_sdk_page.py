"""The SDK's page is true: its code runs in order against a server and prints what it says, and its excerpts are what the files say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import ROOT
from tests.e2e.rooms import rooms

PAGE = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^<!-- from: (?P<file>\S+) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(block["file"], block["kind"], block["text"]) for block in BLOCK.finditer(PAGE)]
EXCERPTS = [(file, text) for file, _, text in BLOCKS if file is not None]


@pytest.mark.parametrize(("file", "text"), EXCERPTS)
def test_excerpts_are_what_the_files_say(file: str, text: str) -> None:
    """Word for word."""
    assert text in (ROOT / file).read_text(encoding="utf-8")


def test_the_code_runs_and_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one interpreter, from the top to the bottom."""
    steps = [(kind, text) for file, kind, text in BLOCKS if file is None and kind in ("python", "text")]
    assert [kind for kind, _ in steps] == ["python", "text"] * 4
    with rooms(tmp_path) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        names: dict[str, Any] = {}
        try:
            for (_, code), (_, printed) in zip(steps[::2], steps[1::2], strict=True):
                moved = code.replace("http://127.0.0.1:8082", place.environment["LOCKGATE_URL"])
                moved = moved.replace("http://127.0.0.1:8081", place.environment["LOCKGATE_CONTROL_URL"])
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(moved, "docs/sdk.md", "exec"), names)
                assert out.getvalue() == printed
        finally:
            if "lockgate" in names:
                names["lockgate"].close()


def test_every_name_is_on_the_page() -> None:
    """What services import is told, and a code that callers hear has its place."""
    import lockgate.asgi
    from lockgate.asgi.answers import TITLES
    from lockgate.client import NoDecision, Refusal, errors

    raised = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, NoDecision | Refusal)]
    told = {*(each.__name__ for each in raised), *lockgate.asgi.__all__} - {"decision_of", "HeldRequest", "DecisionMiddleware"}
    codes = set(TITLES) - {"body_timeout", "body_too_large", "credential_missing", "held_unkept", "rate_limited", "response_too_large"}
    assert sorted(name for name in told | codes if name not in PAGE) == []
