"""Tickets, accounts, grants and devices, in memory."""

from __future__ import annotations

from itertools import count

from examples.halden.services.common import Answer, RefusedError, Tally

_SEED = (
    ("INC-1001", "vpn_problem", "in progress", "m.okafor"),
    ("INC-1002", "request_hardware", "waiting for delivery", "s.lind"),
    ("INC-1003", "printer_problem", "resolved", "m.okafor"),
)


class Desk:
    def __init__(self) -> None:
        self.tally = Tally()
        self.tickets: dict[str, Answer] = {
            number: {"id": number, "kind": kind, "status": status, "assignee": assignee} for number, kind, status, assignee in _SEED
        }
        self.locked = {"a.keller", "j.brandt"}
        self.admin_grants: set[tuple[str, str]] = set()
        self.blocked_devices: set[str] = set()
        self._numbers = count(1004)

    def ticket(self, number: str) -> Answer:
        if number not in self.tickets:
            raise RefusedError(404, f"there is no ticket {number}")
        self.tally.ran("ticket_status", changed=False)
        return {"ticket": self.tickets[number]}

    def open_ticket(self, kind: str, opened_by: str, **details: str | None) -> Answer:
        number = f"INC-{next(self._numbers)}"
        ticket = {"id": number, "kind": kind, "status": "new", "assignee": None, "opened_by": opened_by, **details}
        self.tickets[number] = ticket
        self.tally.ran(kind, changed=True)
        return {"ticket": ticket, "changed": True}

    def reset_password(self, account: str) -> Answer:
        """The secret goes to the account's own second factor, never into the answer."""
        self.tally.ran("reset_password", changed=True)
        return {"account": account, "sent_to": "registered phone", "changed": True}

    def unlock(self, account: str) -> Answer:
        changed = account in self.locked
        self.locked.discard(account)
        self.tally.ran("unlock_account", changed=changed)
        return {"account": account, "locked": False, "changed": changed}

    def grant_admin(self, account: str, system: str) -> Answer:
        changed = (account, system) not in self.admin_grants
        self.admin_grants.add((account, system))
        self.tally.ran("grant_admin_access", changed=changed)
        return {"account": account, "system": system, "role": "admin", "changed": changed}

    def block_device(self, device: str) -> Answer:
        changed = device not in self.blocked_devices
        self.blocked_devices.add(device)
        self.tally.ran("report_lost_device", changed=changed)
        return {"device": device, "blocked": True, "changed": changed}
