"""Held requests as `lockgate review` prints them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.common import console, print_json
from router.cli.harmless import one_line
from router.review.state import RESTING, said

PROBLEMS = {
    "removed": "removed, since it is of no more use; its digest stays",
    "erased": "erased with the key of the one who asked",
    "content_changed": "altered after it was held; it will not be sent",
}


def told(found: dict[str, Any], as_json: bool) -> None:
    """For who asked, who sees the state and no more."""
    if as_json:
        print_json(found)
    else:
        console().print(Text.assemble(("The request is ", ""), (said(found["state"]), "bold")))


def tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    out, reply = console(), found["reply"]
    left = found["quorum"] - found["approvals"]
    more = f"; {left} more approval(s) needed" if found["state"] in RESTING else ""
    out.print(Text.assemble(("The request is ", ""), (said(found["state"]), "bold"), (more, "")))
    if reply is not None:
        _print_reply(out, reply)


def cells_of(row: dict[str, Any]) -> dict[str, str]:
    plain = {name: row[name] or "" for name in ("id", "state", "created", "expires", "intent", "risk", "route", "destination", "tenant")}
    approvals = f"{row['approvals']} of {row['quorum']}"
    if row.get("left_to_asker"):
        plain["destination"] = "none: the service that asked does it once it is approved"
    each = f" (each of {', '.join(row['each_of'])})" if row["each_of"] else ""
    reviewers = ", ".join(row["reviewers"]) + each
    plain |= {name: row[name] or "" for name in ("claimed_until", "respond_by", "escalates")}
    plain |= {"level": f"{row['level']} of {len(row['levels'])}", "round": str(row["round"])}
    plain |= {"may modify": " ".join(row["may_modify"]), "may reroute": " ".join(row["may_reroute"]), "on expiry": row["on_expiry"]}
    return {**plain, "reasons": " ".join(row["reasons"]), "approvals": approvals, "reviewers": reviewers}


def print_whole(out: Console, found: dict[str, Any]) -> None:
    request = found["request"]
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in {**cells_of(found), "content digest": found["content_digest"]}.items():
        if value:
            table.add_row(name.replace("_", " "), text_of(value))
    if "problem" in request:
        table.add_row("request", text_of(PROBLEMS.get(request["problem"], request["problem"])))
    else:
        table.add_row("subject", text_of(request["subject"]))
        table.add_row("request", text_of(f"{request['method']} {request['target']}"))
        table.add_row("text, masked", text_of(request["text"]))
        for each in request["information"]:
            table.add_row("asked", text_of(each["question"]))
            table.add_row(
                "answered, masked" if each.get("masked") else "answered", text_of(f"{each['text']} ({each['by']}, {each['time']})")
            )
        if found.get("question") is not None:
            table.add_row("asked", text_of(f"{found['question']} (no answer yet)"))
    out.print(table)
    for step in found["history"]:
        by = f" by {step['by']}" if step["by"] else ""
        comment = f": {one_line(step['comment'])}" if step["comment"] else ""
        unrecorded = "" if step["recorded"] else " (not in the audit trail yet)"
        out.print(text_of(f"  {step['time']}  {step['event']}{by}{comment}{unrecorded}"))
    if found["reply"] is not None:
        _print_reply(out, found["reply"])


def _print_reply(out: Console, reply: dict[str, Any]) -> None:
    if "problem" in reply:
        out.print(text_of(f"The upstream's answer is {PROBLEMS.get(reply['problem'], reply['problem'])}."))
        return
    out.print(
        text_of(f"The upstream answered {reply['status']} {reply['content_type']}{'' if reply['whole'] else ', of which this is a part'}")
    )
    if reply["body"]:
        out.print(text_of(reply["body"]))


def text_of(text: str) -> Text:
    """Others wrote it: a terminal must not obey it, and nothing in it may hide."""
    return Text("".join(each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text))
