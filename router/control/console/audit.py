"""Questions to the audit trail: records page by page, counts, and the questions that are kept with the workspace."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address, filters, given
from router.control.console.framed import framed
from router.control.console.html import page
from router.control.console.rows import row
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.parameters import Cursor, Name
from router.control.permissions import Permission
from router.control.services import AuditFilters, ControlServices, Opening
from router.errors import ConfigError, RefusedError

router = guarded_router()
SHOWN = 50
COUNTED = ("intent", "effect", "result", "risk", "route", "reason", "tier", "tenant", "door", "classification", "finding", "status")
BUCKETS = ("5m", "1h", "1d")
MOST_GROUPS = 500
ALL = "all"
FREE = re.compile(r"\b(kind|event)\b", re.IGNORECASE)
Personal = Annotated[str, Query(max_length=4)]


@router.get("/console/audit", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def search(request: Request, services: Services, caller: Caller, cursor: Cursor = None, personal: Personal = "") -> Response:
    """Records that match, newest first. Nothing is counted: a page costs the same whatever the ledger's size."""
    return await framed(request, _search(request, services, caller, cursor, personal), "audit.html", here="audit")


async def _search(request: Request, services: ControlServices, caller: Principal, cursor: str | None, personal: str) -> HTMLResponse:
    typed, refused, rows, following, complete = given(request.query_params), "", [], None, None
    try:
        found = await services.audit.query(_of_kind(typed), cursor, SHOWN, caller.id, opening=opening(caller, personal))
        rows, complete = [row(item) for item in found.items], found.complete_to
        following = found.next and address("/console/audit", typed, personal=personal, cursor=found.next)
    except RefusedError as error:
        refused = str(error)
    return page(
        request,
        "audit.html",
        here="audit",
        status=422 if refused else 200,
        typed=typed,
        personal=personal,
        rows=rows,
        refused=refused,
        following=following,
        first=address("/console/audit", typed, personal=personal) if cursor else None,
        complete=complete,
        counts=address("/console/audit/counts", typed),
        certificate=address("/v1/audit/certificate", typed),
        as_json=address("/v1/audit/records", typed, limit=1000),
        shell=_shell(typed),
    )


@router.get("/console/audit/counts", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def counts(
    request: Request, services: Services, caller: Caller, by: Annotated[list[str] | None, Query(max_length=64)] = None, bucket: str = ""
) -> Response:
    """Exact counts over everything that matches."""
    return await framed(request, _counts(request, services, caller, by or (), bucket), "counts.html", here="audit")


async def _counts(request: Request, services: ControlServices, caller: Principal, by: Sequence[str], bucket: str) -> HTMLResponse:
    typed, refused, answer = given(request.query_params), "", None
    chosen = [each for each in by if each][:2] or ["intent"]
    try:
        answer = await services.audit.statistics(filters(typed), chosen, bucket[:16] or None, caller.id)
    except RefusedError as error:
        refused = str(error)
    return page(
        request,
        "counts.html",
        here="audit",
        status=422 if refused else 200,
        typed=typed,
        refused=refused,
        answer=answer,
        table=None if answer is None else _table(answer["groups"]),
        columns=COUNTED,
        chosen=chosen,
        bucket=bucket,
        buckets=BUCKETS,
        search=address("/console/audit", typed),
    )


@router.get("/console/audit/questions", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def questions(request: Request, services: Services) -> HTMLResponse:
    """The saved ones."""
    refused, saved = "", []
    try:
        saved = list(await services.audit.saved())
    except ConfigError as error:
        refused = error.faults[0]
    return page(request, "questions.html", here="audit", saved=saved, refused=refused)


@router.get("/console/audit/questions/{name}", include_in_schema=False, **needs(Permission.AUDIT_READ))
async def answer(request: Request, name: Name, services: Services, caller: Caller, cursor: Cursor = None) -> HTMLResponse:
    """One saved question with its answer, once each of its parameters has a value."""
    question = next((each for each in await services.audit.saved() if each["name"] == name), None)
    if question is None:
        raise RefusedError("There is no saved question of that name.", "not_found", 404)
    wanted: Mapping[str, str] = question.get("parameters", {})
    typed = {key: request.query_params.get(key, "").strip() or str(question.get("defaults", {}).get(key, "")) for key in wanted}
    refused, found = "", None
    if all(typed.values()) and "instead" not in question:
        try:
            found = await services.audit.ask(name, typed, cursor, SHOWN, caller.id)
        except RefusedError as error:
            refused = str(error)
    return page(request, "question.html", here="audit", question=question, typed=typed, refused=refused, **_found(name, typed, found))


def _found(name: str, typed: Mapping[str, str], found: Any) -> dict[str, Any]:
    groups = None if found is None else found.get("groups")
    going_on = None if found is None else found.get("next")
    return {
        "asked": found is not None,
        "rows": [row(item) for item in found.get("records", ()) if groups is None] if found is not None and groups is None else [],
        "table": None if groups is None else _table(groups),
        "complete": None if found is None else found.get("complete_to"),
        "following": going_on and address(f"/console/audit/questions/{name}", typed, cursor=going_on),
    }


def _table(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`heads` name the groups; `most` scales the bars, `left` is how many groups are not shown."""
    heads = [name for name in groups[0] if name not in ("count", "share", "confidence", "duration")] if groups else []
    return {
        "heads": heads,
        "groups": groups[:MOST_GROUPS],
        "most": max((group["count"] for group in groups), default=1),
        "left": max(0, len(groups) - MOST_GROUPS),
    }


def _of_kind(typed: Mapping[str, str]) -> AuditFilters:
    """Of decisions where nothing else is asked for, as `lockgate audit query` does it."""
    kind = typed.get("kind", "decision" if not FREE.search(typed.get("where", "")) else ALL)
    return filters({name: value for name, value in {**typed, "kind": kind}.items() if (name, value) != ("kind", ALL)})


def _shell(typed: Mapping[str, str]) -> str:
    """The same question in a shell, where whole answers are exported."""
    names = {"effect": "verdict", "decision_id": "decision", "trace_id": "trace"}
    options = [f"--{names.get(name, name).replace('_', '-')}={value}" for name, value in typed.items()]
    return shlex.join(["lockgate", "audit", "export", *options, "--format=jsonl", "--out=answer.jsonl"])


def opening(caller: Principal, personal: str) -> Opening:
    if not personal:
        return "none"
    return "opened" if Permission.AUDIT_PERSONAL in caller.permissions else "masked"
