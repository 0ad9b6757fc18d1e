"""The author's loop for who has no shell here: what the commands `lockgate policy …` do with a bundle, with their very answers as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import Query, Request, Response

from router.control.audit import Filters
from router.control.failures import answer
from router.control.form import files
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices, Json, PolicyTrials, Ran
from router.errors import IdentityError, RefusedError

router = guarded_router()
BODY_S = 60.0
BUNDLE, BEFORE, INPUT, INPUTS, CASES, RATCHET = "bundle", "before", "input", "inputs", "cases", "ratchet"
STATUS = "x-lockgate-exit-status"
ARCHIVE = "An archive (.tar.gz) as `lockgate policy build` makes it, or of a folder of policies as it is"
Flag = Annotated[bool, Query()]
Threshold = Annotated[str | None, Query(pattern=r"^\d{1,3}(\.\d{1,6})?%?$", description="`90%`: fail where less is covered by tests")]
Pattern = Annotated[str | None, Query(max_length=256, pattern=r"^[\w.]*$", description="Only tests with this in their names")]
RuleName = Annotated[str, Query(max_length=128, pattern=r"^[a-z0-9_/]+$", description="`payments/limits`: up to four parts")]
Rounds = Annotated[int, Query(ge=100, le=20_000, description="Evaluations of each kind")]


def trying(permission: Permission, *names: str, alone: str | None = BUNDLE) -> dict[str, Any]:
    """Settings of a route that takes these files."""
    file = {"type": "string", "format": "binary", "description": ARCHIVE}
    told: dict[str, Any] = {
        INPUT: {"type": "string", "description": "One input, as JSON"},
        INPUTS: {"type": "string", "description": "Inputs, one a line"},
        CASES: {**file, "description": "An archive (.tar.gz) of YAML files with cases in the form of OPA's own"},
        RATCHET: {"type": "string", "description": "Notes of cases that are known to fail, one a line"},
        "plan": {"type": "string", "description": "How to roll it out, as JSON"},
        "comment": {"type": "string", "description": "Why"},
    }
    form = {"type": "object", "properties": {name: told.get(name, file) for name in names}, "additionalProperties": False}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if alone is not None:
        content["application/gzip"] = {"schema": told.get(alone, file)}
    return {"openapi_extra": {**needs(permission)["openapi_extra"], "requestBody": {"content": content}}}


@router.post("/v1/policy/check", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, BUNDLE, INPUTS))
async def check(request: Request, services: Services, strict: Flag = False, robust: Flag = False, rules_only: Flag = False) -> Response:
    """What is wrong with the policies, by file and line, as `lockgate policy check --json` says it; `robust` takes `inputs`, too."""
    flags = {"--strict": strict, "--robust": robust, "--rules-only": rules_only}
    return await _tried(request, services, "check", frozenset({BUNDLE, INPUTS}), flags)


@router.post("/v1/policy/test", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, BUNDLE))
async def run_tests(
    request: Request, services: Services, coverage: Flag = False, threshold: Threshold = None, run: Pattern = None, verbose: Flag = False
) -> Response:
    """Runs the tests beside the rules in the embedded engine, as `lockgate policy test --json`."""
    flags = {"--coverage": coverage, "--verbose": verbose, f"--threshold={threshold}": threshold is not None, f"--run={run}": bool(run)}
    return await _tried(request, services, "test", frozenset({BUNDLE}), flags)


@router.post("/v1/policy/eval", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, BUNDLE, INPUT, alone=None))
async def evaluate(request: Request, services: Services, trace: Flag = False) -> Response:
    """Puts one `input` to the policies and shows which rules decided, as `lockgate policy eval --json`."""
    return await _tried(request, services, "eval", frozenset({BUNDLE, INPUT}), {"--trace": trace}, required=(BUNDLE, INPUT))


@router.post("/v1/policy/diff", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, BUNDLE, BEFORE, INPUTS, alone=None))
async def diff(request: Request, services: Services) -> Response:
    """Compares `bundle` with `before`: changed rules, and which inputs flip from what to what, as `lockgate policy diff --json`."""
    return await _tried(request, services, "diff", frozenset({BUNDLE, BEFORE, INPUTS}), {}, required=(BUNDLE, BEFORE))


@router.post("/v1/policy/bench", response_model=list[dict[str, Any]], **trying(Permission.POLICY_TRY, BUNDLE, INPUTS))
async def bench(request: Request, services: Services, rounds: Rounds = 2000) -> Response:
    """How long the policies take, as `lockgate policy bench --json`, beside whatever else this machine does."""
    return await _tried(request, services, "bench", frozenset({BUNDLE, INPUTS}), {f"--rounds={rounds}": True})


@router.post("/v1/policy/new", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, BUNDLE))
async def new(request: Request, services: Services, name: RuleName) -> Response:
    """A rule to begin from with its test, for the policies of the bundle or without a body for those in force: what `lockgate policy new
    rule NAME --dry-run --json` says. Nothing is written."""
    return await _tried(request, services, "new", frozenset({BUNDLE}), {name: True}, required=())


@router.post("/v1/policy/conformance", response_model=dict[str, Any], **trying(Permission.POLICY_TRY, CASES, RATCHET, alone=CASES))
async def conformance(request: Request, services: Services) -> Response:
    """Puts the `cases` of an archive to the embedded engine, as `lockgate policy conformance --json -`: what passes, what fails, what is
    refused at load and where it is stricter, each apart."""
    return await _tried(request, services, "conformance", frozenset({CASES, RATCHET}), {}, required=(CASES,), alone=CASES)


@router.post("/v1/policy/replay", response_model=dict[str, Any], **trying(Permission.AUDIT_PERSONAL, BUNDLE))
async def replay(request: Request, services: Services, caller: Caller, filters: Filters) -> Response:
    """Which recorded decisions would be decided otherwise by the bundle, or without a body by the policies in force, as `lockgate policy
    replay --json`. Opens the inputs that policy had then, so it also needs `audit.read` and `policy.try`, and is on record as a reading."""
    _may(caller, Permission.AUDIT_READ, Permission.POLICY_TRY)
    if filters.kind not in (None, "decision"):
        raise RefusedError("Only decisions can be replayed.", "request_invalid", 422)
    trials = _trials(services)
    with trials.slot():
        given = await sent_files(request, frozenset({BUNDLE}), ())
        return _answered(await _unless_gone(request, trials.replay(filters, given.get(BUNDLE), caller.id)))


async def _tried(
    request: Request,
    services: ControlServices,
    command: str,
    names: frozenset[str],
    flags: dict[str, bool],
    required: tuple[str, ...] = (BUNDLE,),
    alone: str = BUNDLE,
) -> Response:
    trials = _trials(services)
    with trials.slot():  # before the body is read: what waits would have its bundle in memory
        given = await sent_files(request, names, required, alone)
        options = [name for name, wanted in flags.items() if wanted]
        return _answered(await _unless_gone(request, trials.run(command, options, given)))


async def sent_files(request: Request, names: frozenset[str], required: tuple[str, ...], alone: str = BUNDLE) -> Json:
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.body()
    except TimeoutError:
        raise RefusedError(f"The body did not come within {BODY_S:g} s.", "body_timeout", 408) from None
    given = files(request.headers.get("content-type"), body, alone, names) if body or required else {}
    for name in required:
        if name not in given:
            raise RefusedError(f"The form must have '{name}'.", "request_invalid", 422)
    return given


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Ran]) -> Ran:
    """Nothing goes on for a caller that is not there any more."""
    running, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise RefusedError("The caller went away.", "client_gone", 499)
        return running.result()
    finally:
        gone.cancel()
        running.cancel()
        await asyncio.gather(running, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answered(ran: Ran) -> Response:
    if ran.faults:
        return answer(422, "policy_unusable", "The policies cannot be used.", faults=list(ran.faults))
    return Response(ran.answer, headers={STATUS: str(ran.status)}, media_type="application/json")


def _trials(services: ControlServices) -> PolicyTrials:
    if services.policies is None:
        raise RefusedError("This control API tries no policies.", "not_found", 404)
    return services.policies


def _may(caller: Principal, *permissions: Permission) -> None:
    for permission in permissions:
        if permission not in caller.permissions:
            raise IdentityError(f"The key lacks the permission '{permission}'.", "permission_missing", 403)
