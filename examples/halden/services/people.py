"""Halden's people service: `python -m examples.halden.services.people --port 9102`."""

from __future__ import annotations

import re
from datetime import date, timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.halden.services import texts
from examples.halden.services.common import Answer, Asked, Operation, RefusedError, application, json_body, needs, run, subject_of
from examples.halden.services.people_book import COURSES, People

_WELL_AGAIN = re.compile(r"\b(fit|recovered|healthy|back to work|better)\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(not|isn'?t|don'?t|no)\b", re.IGNORECASE)
_LEAVES_COURSE = re.compile(r"\b(cancel|withdraw|drop|remove|can'?t (?:make|attend))\b", re.IGNORECASE)
_PHONE = re.compile(r"\+?\d[\d /-]{6,}\d")


class Answers:
    """Free text to operations on the records of whoever asks."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.by_intent: dict[str, Operation] = {
            "leave_balance": lambda asked: people.balance(asked.subject),
            "request_leave": self.request_leave,
            "cancel_leave": self.cancel_leave,
            "report_sick": self.report_sick,
            "get_payslip": lambda asked: people.payslip(asked.subject, texts.month(asked.text) or _last_month()),
            "update_address": self.update,
            "change_salary_account": self.change_account,
            "employment_letter": lambda _: people.document("employment_letter"),
            "book_training": self.book_training,
            "report_misconduct": lambda _: {**people.document("report_misconduct"), "confidential": True},
        }

    def request_leave(self, asked: Asked) -> Answer:
        dates = texts.dates(asked.text)
        days = texts.days(asked.text) or (_working_days(dates[0], dates[-1]) if dates else None)
        if days is None:
            return needs("the dates (2027-03-01 to 2027-03-05) or the number of days")
        return self._people.book_leave(asked.subject, days, dates[0] if dates else None)

    def cancel_leave(self, asked: Asked) -> Answer:
        booked = [number for number, leave in self._people.employee(asked.subject).leave.items() if leave["status"] == "booked"]
        number = texts.reference("LV", asked.text) or (booked[0] if len(booked) == 1 else None)
        return self._people.cancel_leave(asked.subject, number) if number else needs("the leave number, such as LV-1001")

    def report_sick(self, asked: Asked) -> Answer:
        well = _WELL_AGAIN.search(asked.text) is not None and _NEGATED.search(asked.text) is None
        return self._people.report_sick(asked.subject, sick=not well)

    def update(self, asked: Asked) -> Answer:
        phone, email = _PHONE.search(asked.text), texts.email(asked.text)
        details = {"phone": phone[0]} if phone else {}
        details |= {"email": email} if email else {}
        return self._people.update(asked.subject, details or {"note": asked.text})

    def change_account(self, asked: Asked) -> Answer:
        account = texts.iban(asked.text)
        return self._people.change_account(asked.subject, texts.masked_iban(account)) if account else needs("the new IBAN")

    def book_training(self, asked: Asked) -> Answer:
        course = next((course for course in COURSES if course in asked.text.lower()), None)
        if course is None:
            return {**needs("the course"), "courses": COURSES}
        return self._people.enrol(asked.subject, course, leave_it=_LEAVES_COURSE.search(asked.text) is not None)


def _working_days(first: date, last: date) -> float:
    span = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return float(sum(day.weekday() < 5 for day in span))


def _last_month() -> int:
    return (date.today().replace(day=1) - timedelta(days=1)).month  # noqa: DTZ011 - payroll months are local ones


class Endpoints:
    def __init__(self, people: People) -> None:
        self._people = people

    async def balance(self, request: Request) -> Response:
        return JSONResponse(self._people.balance(subject_of(request)))

    async def book(self, request: Request) -> Response:
        body = await json_body(request)
        dates = texts.dates(f"{body.get('from', '')} {body.get('to', '')}")
        if not dates:
            raise RefusedError(422, "leave needs from and to, as in 2027-03-01")
        booked = self._people.book_leave(subject_of(request), _working_days(dates[0], dates[-1]), dates[0])
        return JSONResponse(booked, 201)

    async def cancel(self, request: Request) -> Response:
        return JSONResponse(self._people.cancel_leave(subject_of(request), request.path_params["number"]))

    async def payslip(self, request: Request) -> Response:
        month = request.path_params["month"]
        found = re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month)
        if found is None:
            raise RefusedError(404, f"there is no payslip {month}; months look like 2026-10")
        return JSONResponse(self._people.payslip(subject_of(request), int(found[1])))

    async def note(self, request: Request) -> Response:
        text = (await json_body(request)).get("text")
        if not text:
            raise RefusedError(422, "a note needs a text")
        return JSONResponse(self._people.note(request.path_params["name"], str(text)), 201)

    async def notes(self, request: Request) -> Response:
        return JSONResponse({"notes": self._people.notes.get(request.path_params["name"], [])})


def build() -> Starlette:
    """Halden's people service, with fresh state."""
    people = People()
    rest = Endpoints(people)
    routes = [
        Route("/leave/balance", rest.balance),
        Route("/leave", rest.book, methods=["POST"]),
        Route("/leave/{number}", rest.cancel, methods=["DELETE"]),
        Route("/payslips/{month}", rest.payslip),
        Route("/notes/{name}", rest.note, methods=["POST"]),
        Route("/notes/{name}", rest.notes),
    ]
    return application("people", routes, Answers(people).by_intent, people.tally)


if __name__ == "__main__":
    run(build, 9102)
