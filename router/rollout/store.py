"""Rollouts as files, one each, written whole: what is there after a crash is one move or the one before it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from router.bundle.standing import keep
from router.config.rollouts import RolloutConfig
from router.errors import StateError
from router.ports import Entry
from router.rollout.state import Change, Event, Rollout

FOLDER = "rollouts"


class RolloutFiles:
    """Below the folder where the versions of the policies are. One process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def put(self, rollout: Rollout) -> None:
        """Durable when it returns. Raises StateError."""
        keep(self._folder / f"{rollout.id}.json", json.dumps(_written(rollout), indent=1).encode())

    def get(self, rollout_id: str) -> Rollout | None:
        """Raises StateError."""
        path = self._folder / f"{rollout_id}.json"
        return self._read(path) if path.parent == self._folder and path.exists() else None

    def all(self) -> Iterator[Rollout]:
        """Newest first: ids are in the order of time. Raises StateError."""
        paths = sorted(self._folder.glob("*.json"), reverse=True) if self._folder.is_dir() else []
        return (self._read(path) for path in paths if not path.name.startswith("."))

    def newest(self, most: int) -> list[Rollout]:
        """No others are read: with the years there are many. Raises StateError."""
        return list(islice(self.all(), most))

    @staticmethod
    def _read(path: Path) -> Rollout:
        try:
            return _rollout(json.loads(path.read_bytes()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise StateError(f"{path} with a rollout cannot be read; restore it, or remove it.", "rollout_unreadable") from error


def _written(rollout: Rollout) -> dict[str, Any]:
    return {
        "version": 1,
        "id": rollout.id,
        "created_ns": rollout.created_ns,
        "archive": rollout.archive,
        "policy": rollout.policy,
        "config": rollout.config,
        "revision": rollout.revision,
        "sequence": rollout.sequence,
        "over": rollout.over,
        "over_policy": rollout.over_policy,
        "plan": rollout.plan.model_dump(mode="json", by_alias=True),
        "author": rollout.author,
        **({"author_acting": list(rollout.author_acting)} if rollout.author_acting else {}),  # a release before this one reads the rest
        "approver": rollout.approver,
        "history": [_change(each) for each in rollout.history],
    }


def _change(change: Change) -> dict[str, Any]:
    entry = [b64encode(change.entry.leaf).decode(), b64encode(change.entry.sealed).decode(), change.entry.key_id]
    told = dict(change.told)
    return {"event": change.event, "at_ns": change.at_ns, "step": change.step, "entry": entry, "told": told, "recorded": change.recorded}


def _rollout(document: Mapping[str, Any]) -> Rollout:
    known = {name: value for name, value in document.items() if name not in ("version", "plan", "history")}
    if document["version"] != 1:
        raise ValueError("another version")
    history = tuple(_read_change(each) for each in document["history"])
    known["author_acting"] = tuple(known.get("author_acting", ()))  # an older release noted none
    return Rollout(**known, plan=RolloutConfig.model_validate(document["plan"]), history=history)


def _read_change(document: Mapping[str, Any]) -> Change:
    leaf, sealed, key_id = document["entry"]
    entry = Entry(b64decode(leaf), b64decode(sealed), key_id)
    return Change(Event(document["event"]), document["at_ns"], document["step"], entry, document["told"], document["recorded"])
