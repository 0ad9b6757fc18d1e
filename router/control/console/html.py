"""Pages are made here, and nowhere else: templates that escape whatever they are given, with who looks and what they may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from router.control.console import charts, words
from router.control.console.assets import VERSION
from router.control.console.visible import visible
from router.control.guarded import NOBODY, Principal
from router.control.permissions import Permission

P = Permission
MAIN = '<main id="content"'
FOLDER = Path(__file__).parent / "templates"
THEMES, THEME = ("light", "dark"), "lockgate-theme"  # the cookie of who chose one by hand; without it the system's holds


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation; shown to who may look at what is behind it, where there is a `service` of that name if one is named."""

    key: str
    title: str
    path: str
    permission: Permission
    service: str = ""


PLACES = (
    Place("live", "Decisions", "/console/", P.AUDIT_READ),
    Place("audit", "Audit", "/console/audit", P.AUDIT_READ),
    Place("reviews", "Reviews", "/console/reviews", P.REVIEWS_READ),
    Place("labels", "Labels", "/console/labels", P.LABELS_WRITE, "labels"),
    Place("reviewers", "Reviewers", "/console/reviewers", P.REVIEWERS_READ, "labels"),
    Place("intents", "Intents", "/console/intents", P.AUDIT_READ),
    Place("proposals", "Proposals", "/console/proposals", P.PROPOSALS_READ, "learning"),
    Place("policy", "Policy", "/console/policy", P.POLICY_READ),
    Place("deliveries", "Deliveries", "/console/deliveries", P.DELIVERIES_READ),
    Place("health", "Health", "/console/health", P.CONFIG_READ),
    Place("keys", "Keys", "/console/keys", P.KEYS_READ),
)


def _environment() -> Environment:
    how: dict[str, Any] = {"undefined": StrictUndefined, "finalize": visible, "trim_blocks": True, "lstrip_blocks": True}
    made = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, **how)
    made.filters.update(words.FILTERS)
    made.globals.update(asset=f"/console/static/{VERSION}", P=P, **charts.GLOBALS)
    return made


TEMPLATES = _environment()


def page(
    request: Request, template: str, *, here: str = "", status: int = 200, headers: Mapping[str, str] | None = None, **shown: Any
) -> HTMLResponse:
    return HTMLResponse(rendered(request, template, here=here, **shown), status, dict(headers or {}))


def rendered(request: Request, template: str, *, here: str, frame: bool = False, **shown: Any) -> str:
    """With `frame` what is the same whatever is shown: all that stands before `MAIN`."""
    principal: Principal = getattr(request.state, "principal", getattr(request.state, "refused", NOBODY))
    return TEMPLATES.get_template(template).render(
        frame=frame,
        here=here,
        theme=_theme(request),
        may=principal.permissions,
        who=principal.id,
        csrf=getattr(principal, "csrf", ""),
        places=[place for place in PLACES if place.permission in principal.permissions and _there(request, place)],
        **shown,
    )


def _there(request: Request, place: Place) -> bool:
    return not place.service or getattr(request.app.state.services, place.service) is not None


def _theme(request: Request) -> str:
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else ""


def see_other(path: str) -> RedirectResponse:
    """After a form: what reloads is the page, never the order."""
    return RedirectResponse(path, 303)
