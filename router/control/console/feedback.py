"""Saying whether a request was understood rightly, from the pages that show one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from pydantic import ValidationError

from router.control.console.asking import address
from router.control.console.forms import posted
from router.control.console.html import see_other
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.learning import learning_of
from router.control.models import Opinion
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.errors import RefusedError

router = guarded_router()
BACK: Mapping[str, str] = {"decision": "/console/decisions/", "review": "/console/reviews/"}


@router.post("/console/decisions/{decision_id}/feedback", include_in_schema=False, **needs(Permission.FEEDBACK_WRITE))
async def say(request: Request, decision_id: Identifier, services: Services, caller: Caller) -> Response:
    """Back to the page it was said on."""
    fields = await posted(request)
    told = {name: fields[name].strip() for name in Opinion.model_fields if fields.get(name, "").strip()}
    try:
        opinion = Opinion.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise RefusedError(f"The {first['loc'][0]}: {first['msg']}.", "request_invalid", 422) from None
    said = {name: value or "" for name, value in opinion.model_dump().items()}
    await learning_of(services).say(decision_id, said, caller.subject)
    return see_other(address(f"{BACK.get(fields.get('back', ''), BACK['decision'])}{decision_id}", done="said"))


async def opinions(services: ControlServices, caller: Principal, decision_id: str) -> dict[str, Any]:
    """`may_say`: whether the form is shown; `hears`: whether a reviewer's decision may say so as well; `said`: what
    people said so far, None for who may not see that."""
    learns = services.learning is not None
    shown = learns and Permission.PROPOSALS_READ in caller.permissions
    return {
        "hears": hears_of(services),
        "may_say": learns and Permission.FEEDBACK_WRITE in caller.permissions,
        "said": await learning_of(services).opinions(decision_id) if shown else None,
    }


def hears_of(services: ControlServices) -> bool:
    """Whether what a reviewer says of the classification is taken up."""
    return services.learning is not None and learning_of(services).hears_reviews()
