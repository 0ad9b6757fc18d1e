"""Reports on disk, beside the model that each is about: `<digest>.report.json`, which carries a digest of its own."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError
from embeddings.kept import directory_name
from embeddings.report import Report, report_from

SCHEMA = 1


def report_path(directory: Path, model: str) -> Path:
    """`directory` is where the models are, `model` the model's digest."""
    return directory / f"{directory_name(model)}.report.json"


def described(report: Report) -> dict[str, Any]:
    """The report in JSON's terms, `digest` over the rest of it included."""
    content = json.loads(json.dumps({"schema": SCHEMA, **asdict(report)}))
    return {**content, "digest": digest_of(content)}


def save_report(report: Report, directory: Path) -> Path:
    """Takes the place of one that an earlier version made; a crash leaves the old one or none. Raises EmbeddingsError."""
    target = report_path(directory, report.model)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=".partial-", dir=directory)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(described(report), indent=1) + "\n")
        Path(aside).chmod(0o644)
        Path(aside).replace(target)
    except OSError as error:
        raise EmbeddingsError("report_unwritable", f"{target} cannot be written: {error.strerror}.") from error
    return target


def load_report(directory: Path, model: str) -> Report | None:
    """None where there is none, or one of another version. Raises EmbeddingsError for one that was altered or is about another model."""
    path = report_path(directory, model)
    try:
        content = json.loads(path.read_bytes())
        if content["schema"] != SCHEMA:
            return None
        stated = content.pop("digest")
        if stated != digest_of(content) or content["model"] != model:
            raise ValueError("it does not have the digest that it states, or is about another model")
        del content["schema"]
        return report_from(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EmbeddingsError("report_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbeddingsError("report_altered", f"{path} is not as it was saved: {error}; delete it to have it made anew.") from error
