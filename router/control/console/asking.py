"""What a search form asks for. A browser sends fields that were left empty, too; such ask for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from router.control.audit import audit_filters
from router.control.services import AuditFilters
from router.decision import Effect, Level, Result
from router.errors import RefusedError

Word = Annotated[str | None, Field(max_length=256)]
Score = Annotated[float | None, Field(ge=0, le=1)]


def _in_utc(time: datetime) -> datetime:
    """Without a zone it is UTC, as everything on these pages is."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class Asked(BaseModel):
    """The filters of `GET /v1/audit/records`, under the same names."""

    model_config = ConfigDict(extra="ignore")

    since: Moment | None = None
    until: Moment | None = None
    subject: Word = None
    intent: Word = None
    route: Word = None
    effect: Effect | None = None
    reason: Word = None
    risk: Level | None = None
    tenant: Word = None
    kind: Literal["decision", "outcome", "review", "system", "evidence"] | None = None
    result: Result | None = None
    min_confidence: Score = None
    max_confidence: Score = None
    decision_id: Word = None
    trace_id: Word = None
    where: Annotated[str | None, Field(max_length=4000)] = None


def given(query: Mapping[str, str]) -> dict[str, str]:
    """The filters that say something, as they were typed."""
    return {name: query[name].strip() for name in Asked.model_fields if query.get(name, "").strip()}


def filters(typed: Mapping[str, str], **fixed: Any) -> AuditFilters:
    """Raises RefusedError in one sentence."""
    try:
        asked = Asked.model_validate(typed)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]).replace("_", " ") if first["loc"] else "question"
        raise RefusedError(f"The {field}: {first['msg']}.", "request_invalid", 422) from None
    return audit_filters(**{**{name: getattr(asked, name) for name in Asked.model_fields}, **fixed})


def address(path: str, *parts: Mapping[str, Any], **more: Any) -> str:
    """`path` with these as its query; what is None or empty is left out."""
    every = {name: value for part in (*parts, more) for name, value in part.items()}
    told = urlencode({name: value for name, value in every.items() if value not in (None, "", False)})
    return f"{path}?{told}" if told else path
