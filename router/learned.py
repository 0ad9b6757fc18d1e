"""What was learnt and rolled out, as the one file beside the catalog that Lockgate writes: put over the catalog before that is checked.

The catalog names it (`learned: learned.yaml`), and itself stays its authors' own. Values from the environment are not filled in: the texts
in it are strangers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Literal

import yaml
from pydantic import Field

from router.decision import Level
from router.faults import Document, Fault
from router.settings import Fraction, Name, Strict, Text
from router.utterances import BACKGROUND, Utterance
from router.validation import validate
from router.yaml_source import read_yaml

HEAD = "# Written by Lockgate from approved proposals; `lockgate proposals list` tells of them. Edited by hand it is no longer kept up.\n"


class NewIntent(Strict):
    """An intent that the catalog does not have."""

    description: Text = Field(description="What is meant, in a sentence.")
    owner: Text = Field(default="", description="Team that answers for the intent.")
    risk: Level = Field(default=Level.LOW, description="How much harm a wrong or malicious request can do.")


class LearnedIntent(Strict):
    """What was learnt about one intent."""

    new: NewIntent | None = Field(default=None, description="The intent itself, where the catalog has none.")
    route: Name | None = Field(default=None, description="Instead of the catalog's.")
    min_confidence: Fraction | None = Field(default=None, description="Instead of every threshold that the catalog states for it.")
    examples: tuple[Text, ...] = Field(default=(), description="Beside the catalog's.")


class Learned(Strict):
    """The file as a whole."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    intents: Mapping[Name, LearnedIntent] = Field(default_factory=dict, description="By name.")
    out_of_scope: tuple[Text, ...] = Field(default=(), description="Examples of what is about no intent.")


NOTHING = Learned()


def read_learned(file: str, files: Mapping[str, bytes]) -> tuple[Learned, list[Fault]]:
    """A file that is not there yet says nothing."""
    if file not in files:
        return NOTHING, []
    document, faults = read_yaml(file, files[file], None)
    if document is None:
        return NOTHING, faults
    found, wrong = validate(Learned, document, value={} if document.value is None else document.value)
    return found or NOTHING, [*faults, *wrong]


def written(learned: Learned) -> bytes:
    """The same for the same, so that its digest names it."""
    value = learned.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump({"version": 1, **value}, allow_unicode=True, sort_keys=True, width=100_000)
    return (HEAD + text).encode()


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def put_over(catalog: Document, learned: Learned) -> tuple[Document, list[Fault]]:
    """The catalog's document with everything but the examples, which are told by `beside`."""
    intents = catalog.value.get("intents") if isinstance(catalog.value, dict) else None
    if not learned.intents or not isinstance(intents, dict | None):
        return catalog, []
    merged, faults = dict(intents or {}), list[Fault]()
    for name, about in learned.intents.items():
        own = merged.get(name)
        if own is None and about.new is not None:
            merged[name] = {
                **about.new.model_dump(mode="json", exclude_defaults=True),
                "route": about.route,
                "examples": list(about.examples),
            }
            continue
        if own is None:
            faults.append(catalog.fault(("learned",), f"What was learnt is about the intent '{name}', which the catalog does not have."))
        elif isinstance(own, dict):
            merged[name] = _changed(own, about)
    return replace(catalog, value={**catalog.value, "intents": merged}), faults


def beside(found: dict[str, list[Utterance]], learned: Learned, file: str) -> None:
    """Adds the learnt examples to the catalog's own, by owner."""
    texts = {**{name: about.examples for name, about in learned.intents.items()}, BACKGROUND: learned.out_of_scope}
    for owner, examples in texts.items():
        known = {utterance.text for utterance in found.get(owner, ())}
        found.setdefault(owner, []).extend(Utterance(text, file, 1) for text in examples if text not in known)


def _changed(own: Mapping[str, Any], about: LearnedIntent) -> dict[str, Any]:
    """A threshold that was learnt takes the place of a stated risk: an intent has one or the other."""
    changed = dict(own)
    if about.route is not None:
        changed["route"] = about.route
    if about.min_confidence is not None:
        changed = {name: value for name, value in changed.items() if name not in ("max_error", "costs")}
        changed["min_confidence"] = about.min_confidence
    return changed
