"""Halden's workflows. Each is the same whoever carries it through: a Temporal worker, or the back office, a small service of its own.

`step` runs one step and returns its answer; who gives it says how a step is tried again, and what is known of it after a crash. A flow
itself does nothing else than to order steps, so that it may be run anew over the answers that are there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from examples.halden.company import steps
from examples.halden.company.steps import Task

Answer = dict[str, Any]
Step = Callable[..., Awaitable[Answer]]
Flow = Callable[[Task, Step], Awaitable[Answer]]


async def dispute(task: Task, step: Step) -> Answer:
    """A charge that nobody recognises: a case with the bank, no more charges on that card, and a word to its holder."""
    case = await step(steps.open_case, task)
    card = await step(steps.block_card, task)
    await step(steps.tell, task, task.subject, f"Your case is {case['case']}. The card is blocked; a new one is on its way.")
    return {"case": case["case"], "card": card["card"], "blocked": True}


async def lost_device(task: Task, step: Step) -> Answer:
    """What somebody may hold who should not: blocked first, then the account, then a replacement."""
    blocked = await step(steps.block_device, task)
    await step(steps.reset_password, task)
    ordered = await step(steps.order_replacement, task)
    await step(steps.tell, task, task.subject, f"Your password was reset. A replacement is ordered: {ordered['ticket']['id']}.")
    return {"device": blocked.get("device"), "blocked": bool(blocked.get("blocked")), "replacement": ordered["ticket"]["id"]}


async def failed_payment(task: Task, step: Step) -> Answer:
    """A payment that came back: looked up, for an event may be late or wrong, then a case for those who make it good."""
    payment = await step(steps.look_up_payment, task)
    case = await step(steps.open_recovery, task)
    await step(steps.tell, task, "finance", f"Payment {payment['id']} to {payment['party']} has failed; case {case['case']}.")
    return {"payment": payment["id"], "case": case["case"]}


FLOWS: dict[str, Flow] = {"disputes": dispute, "lost_devices": lost_device, "failed_payments": failed_payment}
"""By the name of the route that leads there."""
