"""What reviewers and requesters may change of a held request, and what it is then. Nothing here is kept or decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from router.errors import ReviewError
from router.ports import Held, Outbound
from router.review import terms
from router.review.answering import EVIDENCE, askable, evidence
from router.review.packing import Content, Information
from router.review.places import put, read, within

JSON_TYPES = ("application/json", "+json")


def modified(held: Held, outbound: Outbound, changes: Mapping[str, Any]) -> Outbound:
    """With other values in the places that policy lets a reviewer change. Raises ReviewError `modification_refused`."""
    allowed = terms.changeable(held)
    if not changes:
        raise _refused("Nothing is to be changed.")
    for pointer in changes:
        if not any(within(pointer, each) for each in allowed):
            raise _refused(f"Policy does not let a reviewer change '{pointer[:64]}'.")
    try:
        document = document_of(outbound)
        for pointer, value in changes.items():
            document = put(document, pointer, value)
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise _refused("The body cannot be changed so that all else of it stays as it is.") from error
    return with_body(outbound, text)


def document_of(outbound: Outbound) -> Any:
    """The body as JSON that comes out the same when it is written again. Raises ReviewError `modification_refused`, ValueError,
    RecursionError."""
    if not isinstance(outbound.body, bytes) or not _is_json(outbound):
        raise _refused("Only a JSON body can be changed.")
    return read(outbound.body)


def with_body(outbound: Outbound, body: bytes) -> Outbound:
    length = b"%d" % len(body)
    headers = [(name, length if name.lower() == b"content-length" else value) for name, value in outbound.headers]
    return replace(outbound, headers=headers, body=body)


def on_route(outbound: Outbound, path: str | None, method: str | None, request: Mapping[str, Any]) -> Outbound:
    """For a route with this path and method of its own, if any; `request` is what policy was told of the caller's."""
    own, _, query = outbound.target.partition("?")
    if path is None:
        path = own if unquote(own) == request["path"] else quote(request["path"], safe="/~!$&'()*+,;=:@-._")
    target = f"{path}?{query}" if query else path
    return replace(outbound, target=target, method=method or request["method"])


def informed(held: Held, content: Content, information: Information) -> tuple[Held, Content]:
    """What is said becomes evidence, which approvals cover. Raises ReviewError."""
    askable(held)
    told = (*content.information, information)
    return replace(held, sealed=b"", summary=terms.with_terms(held, **{EVIDENCE: evidence(told)})), replace(content, information=told)


def escalated(held: Held) -> Held:
    """For the next level's people. Raises ReviewError where there is none."""
    level = terms.level(held) + 1
    if level > len(terms.levels(held)):
        raise ReviewError("Policy names nobody to whom this could be escalated.", "escalation_unknown")
    return replace(held, sealed=b"", summary=terms.with_terms(held, level=level))


def _is_json(outbound: Outbound) -> bool:
    found = next((value for name, value in outbound.headers if name.lower() == b"content-type"), b"").decode("latin-1")
    media = found.partition(";")[0].strip().lower()
    return any(media.endswith(each) for each in JSON_TYPES)


def _refused(sentence: str) -> ReviewError:
    return ReviewError(sentence, "modification_refused")
