"""What an OPA server holds: policies, data and bundles. From it we know which intents have a package, which reason codes are written
out, and the digest of what decides; none of these is guessed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.rego.result import written
from router.bundle.content import text_digest

INTENTS = ("data", "lockgate", "intents")
ADOPTED: Mapping[tuple[str, ...], str] = {
    ("data", "lockgate", "adopted"): "decision",
    ("data", "lockgate", "adopted_admission"): "admission",
}
REVISION_CHARS = 128
PRINTABLE = re.compile(r"[!-~]{1,128}")
Bundles = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """`bundles` are revisions by name, none where policies were put there by the REST API; `intents` the names of packages, `adopted`
    the entry points at which packages of the library have something to say."""

    bundles: Bundles
    intents: frozenset[str]
    codes: frozenset[str]
    digest: str
    revision: str
    adopted: frozenset[str] = frozenset()


def held(listed: Any, config: Any, bundles: Bundles) -> Held:
    """From the lists as the server gives them: `listed` of `GET /v1/policies`, `config` of `data.lockgate.config`, None where there is
    none. Raises ValueError for another form."""
    policies: dict[str, str] = {}
    intents: set[str] = set()
    adopted: set[str] = set()
    for each in _list(listed):
        name, text = each["id"], each["raw"]
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValueError
        policies[name] = text
        intents.update(_intents(each["ast"]))
        if (entry := ADOPTED.get(_words(each["ast"]["package"]["path"]))) is not None:
            adopted.add(entry)
    document = {} if config is None else {"lockgate": {"config": config}}
    data = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
    digest = _with_bundles(text_digest(policies, data), bundles)
    return Held(
        dict(bundles), frozenset(intents), written((*policies.values(), data)), digest, _revision(bundles, digest), frozenset(adopted)
    )


def bundles_of(provenance: Any) -> Bundles:
    """Raises ValueError where there is no provenance. Before bundles had names there was one `revision`."""
    if not isinstance(provenance, dict):
        raise ValueError
    found: dict[str, str] = {}
    for name, bundle in (provenance.get("bundles") or {}).items():
        found[name] = str(bundle.get("revision", "")) if isinstance(bundle, dict) else ""
    if provenance.get("revision"):
        found[""] = str(provenance["revision"])
    return found


def _list(listed: Any) -> list[dict[str, Any]]:
    if not isinstance(listed, list) or not all(isinstance(each, dict) and {"id", "raw", "ast"} <= each.keys() for each in listed):
        raise ValueError
    return listed


def _intents(tree: Any) -> Iterator[str]:
    """Names below `data.lockgate.intents` that a module defines anything for, by its package or by a rule's own path."""
    package = _words(tree["package"]["path"])
    if package[:3] == INTENTS and len(package) > 3:
        yield package[3]
        return
    if package != INTENTS[: len(package)]:
        return
    for rule in tree.get("rules") or ():
        head = rule["head"]
        path = (*package, *(_words(head["ref"]) if head.get("ref") else (head["name"],)))
        if path[:3] == INTENTS and len(path) > 3:
            yield path[3]


def _words(terms: Any) -> tuple[str, ...]:
    """The leading part of a reference that is written out; its first term is a name."""
    found: list[str] = []
    for place, term in enumerate(terms):
        if not isinstance(term["value"], str) or (place and term["type"] != "string"):
            break
        found.append(term["value"])
    return tuple(found)


def _with_bundles(digest: str, bundles: Bundles) -> str:
    """Without bundles the digest is that of any engine which holds the same policies under the same names."""
    if not bundles:
        return digest
    return hashlib.sha256(orjson.dumps([digest, bundles], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _revision(bundles: Bundles, digest: str) -> str:
    """What the bundles' authors call it, as far as it is short and printable, since it stays in the ledger for ever."""
    named = ",".join(f"{name}={revision}" if name else revision for name, revision in sorted(bundles.items()))
    return named if PRINTABLE.fullmatch(named) else digest[:12]
