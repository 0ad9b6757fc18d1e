from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from router.config.blocks import AdapterBlock
from router.errors import ConfigError
from router.secret import Secret
from router.settings import Strict


class Holder(Strict):
    token: Secret


def test_a_secret_is_never_shown() -> None:
    """Neither repr nor str nor a dump nor the JSON of a model gives a secret away."""
    holder = Holder.model_validate({"token": "hunter2"})
    shown = f"{holder!r} {holder} {holder.model_dump()!r} {holder.model_dump_json()}"
    assert "hunter2" not in shown
    assert holder.token.reveal(Path()) == "hunter2"


def test_a_refused_secret_is_not_repeated() -> None:
    """What is said about a secret of the wrong type does not have it in it."""
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"token": {"file": ""}})
    assert caught.value.errors()[0]["msg"] == "must be text such as ${NAME}, {file: path}, or {vault: path, field: name}"


def test_a_secret_file_loses_one_line_break(tmp_path: Path) -> None:
    """Editors end files with a line break that is no part of the secret; further white space is."""
    (tmp_path / "token").write_text("hunter2 \n")
    assert Holder.model_validate({"token": {"file": "token"}}).token.reveal(tmp_path) == "hunter2 "


def test_a_missing_secret_file_is_one_sentence(tmp_path: Path) -> None:
    """The path is named, with what is wrong."""
    with pytest.raises(ConfigError, match=r"token:1: The secret cannot be read: No such file or directory."):
        Secret(file="token").reveal(tmp_path)


def test_secrets_are_compared_by_what_they_are() -> None:
    """A reload can tell whether a secret changed."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret(file="a")
    assert len({Secret("a"), Secret("a")}) == 1


def test_an_adapters_block_shows_none_of_its_settings() -> None:
    """Before the adapter's own model has read them nobody knows which are secret."""
    block = AdapterBlock.model_validate({"adapter": "litellm", "api_key": "hunter2"})
    assert block.settings == {"api_key": "hunter2"}
    assert "hunter2" not in f"{block} {block!r} {block.model_dump()} {block.model_dump_json()}"
