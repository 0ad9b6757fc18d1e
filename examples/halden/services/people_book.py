"""Leave, payroll and records of employees, in memory. An employee exists from the first request on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from itertools import count

from examples.halden.services.common import Answer, RefusedError, Tally

YEARLY_LEAVE = 30.0
COURSES = (
    "forklift",
    "dangerous goods",
    "first aid",
    "german",
    "english",
    "excel",
    "leadership",
    "data protection",
    "tachograph",
    "fire safety",
)


@dataclass
class Employee:
    name: str
    leave: dict[str, Answer] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    account: str | None = None
    sick: bool = False
    courses: set[str] = field(default_factory=set)

    @property
    def days_booked(self) -> float:
        return sum(float(booked["days"]) for booked in self.leave.values() if booked["status"] == "booked")


class People:
    def __init__(self) -> None:
        self.tally = Tally()
        self._employees: dict[str, Employee] = {}
        self.notes: dict[str, list[str]] = {}
        self._leave_numbers = count(1001)
        self._documents = count(1)

    def employee(self, name: str) -> Employee:
        return self._employees.setdefault(name, Employee(name))

    def balance(self, name: str) -> Answer:
        booked = self.employee(name).days_booked
        self.tally.ran("leave_balance", changed=False)
        return {"employee": name, "days_left": YEARLY_LEAVE - booked, "days_booked": booked}

    def book_leave(self, name: str, days: float, start: date | None) -> Answer:
        employee = self.employee(name)
        if not 0 < days <= YEARLY_LEAVE - employee.days_booked:
            raise RefusedError(409, f"{days:g} days cannot be booked, {YEARLY_LEAVE - employee.days_booked:g} are left")
        number = f"LV-{next(self._leave_numbers)}"
        employee.leave[number] = {"id": number, "days": days, "from": start.isoformat() if start else None, "status": "booked"}
        self.tally.ran("request_leave", changed=True)
        return {"leave": employee.leave[number], "changed": True}

    def cancel_leave(self, name: str, number: str) -> Answer:
        booked = self.employee(name).leave.get(number)
        if booked is None:
            raise RefusedError(404, f"{name} has no leave {number}")
        changed = booked["status"] != "cancelled"
        booked["status"] = "cancelled"
        self.tally.ran("cancel_leave", changed=changed)
        return {"leave": booked, "changed": changed}

    def report_sick(self, name: str, *, sick: bool) -> Answer:
        employee = self.employee(name)
        changed = employee.sick != sick
        employee.sick = sick
        self.tally.ran("report_sick", changed=changed)
        return {"employee": name, "sick": sick, "changed": changed}

    def payslip(self, name: str, month: int) -> Answer:
        self.tally.ran("get_payslip", changed=False)
        account = self.employee(name).account
        return {"employee": name, "month": month, "gross": "3850.00", "net": "2512.40", "currency": "EUR", "paid_to": account}

    def update(self, name: str, details: dict[str, str]) -> Answer:
        employee = self.employee(name)
        changed = employee.details != {**employee.details, **details}
        employee.details.update(details)
        self.tally.ran("update_address", changed=changed)
        return {"employee": name, "updated": sorted(details), "changed": changed}

    def change_account(self, name: str, masked_account: str) -> Answer:
        employee = self.employee(name)
        changed = employee.account != masked_account
        employee.account = masked_account
        self.tally.ran("change_salary_account", changed=changed)
        return {"employee": name, "account": masked_account, "changed": changed}

    def enrol(self, name: str, course: str, *, leave_it: bool) -> Answer:
        courses = self.employee(name).courses
        changed = (course in courses) == leave_it
        if leave_it:
            courses.discard(course)
        else:
            courses.add(course)
        self.tally.ran("book_training", changed=changed)
        return {"employee": name, "course": course, "enrolled": not leave_it, "changed": changed}

    def document(self, operation: str) -> Answer:
        """A letter that gets written or a confidential case that gets opened: either way a number to refer to."""
        self.tally.ran(operation, changed=True)
        return {"reference": f"HR-{next(self._documents):04}", "kind": operation}

    def note(self, name: str, text: str) -> Answer:
        """A word to somebody, or to a department."""
        self.notes.setdefault(name, []).append(text)
        self.tally.ran("note", changed=True)
        return {"to": name, "notes": len(self.notes[name])}
