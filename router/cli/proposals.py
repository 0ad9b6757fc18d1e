"""`lockgate proposals`: what was learnt, from the draft to what is in force, over a running Lockgate's control API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.table import Table

from router.adaptation.state import State, Type
from router.cli.common import console, print_json
from router.cli.control_client import ControlClient, control_url
from router.cli.feedback import connected, text
from router.cli.route_effect import print_effect

LISTED = ("id", "state", "type", "about", "decisions", "faults", "author", "approver")
POLL_S = 2.0


@click.group()
def proposals() -> None:
    """Draft, evaluate, approve, roll out and revert what was learnt from corrections."""


@proposals.command("list")
@click.option("--state", type=click.Choice([each.value for each in State]), help="Only these.")
@connected
def list_proposals(state: str | None, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """List proposals, oldest first."""
    found = list(_all(_client(config, url, key), state))
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, pad_edge=False)
    for name in LISTED:
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for row in found:
        cells = {**row, "about": _about(row), "faults": len(row["evaluation"]["faults"]) if row["evaluation"] else ""}
        table.add_row(*(text(cells[name]) for name in LISTED))
    out.print(table if found else "There is none.")


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@connected
def show(proposal_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Show one proposal and what it was measured to change; its texts for who may see them (`audit.personal`, on record)."""
    _tell(_client(config, url, key).call("GET", _path(proposal_id)), as_json)


@proposals.command()
@click.option(
    "--type",
    "kind",
    type=click.Choice([each.value for each in Type]),
    default=Type.NEW_EXAMPLES.value,
    show_default=True,
    help="What it changes.",
)
@click.option("--intent", help="Only this intent; for a new one, its name.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Of a threshold.")
@click.option("--route", help="Where the intent is to go.")
@click.option("--description", help="Of a new intent: what is meant, in a sentence.")
@click.option("--owner", help="Of a new intent.")
@click.option("--risk", type=click.Choice(["low", "medium", "high", "critical"]), default="low", show_default=True, help="Of a new intent.")
@click.option("--decision", "decisions", multiple=True, metavar="ID", help="Of a new intent: whose text is an example; repeat it.")
@click.option("--comment", default="", help="Kept under your key.")
@connected
def draft(
    kind: str,
    intent: str | None,
    min_confidence: float | None,
    route: str | None,
    description: str | None,
    owner: str | None,
    risk: str,
    decisions: tuple[str, ...],
    comment: str,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Make a proposal of what people said, or of what you name. Texts take the permission `audit.personal` as well."""
    wanted = {"type": kind, "intent": intent, "min_confidence": min_confidence, "route": route, "description": description}
    body = {**wanted, "owner": owner, "risk": risk, "decisions": list(decisions), "comment": comment}
    _tell(_client(config, url, key).call("POST", "/v1/proposals", body), as_json)


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@connected
def evaluate(proposal_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Measure a proposal against what serves, and wait for it."""
    client = _client(config, url, key)
    found = client.call("POST", f"{_path(proposal_id)}/evaluate")
    while found["evaluating"]:
        time.sleep(POLL_S)
        found = client.call("GET", _path(proposal_id))
    if found["problem"]:
        raise click.ClickException(found["problem"])
    _tell(found, as_json)


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@click.option("--binding", help="Approve only this evaluation: the binding that `show` printed.")
@click.option("--comment", default="", help="Kept under your key.")
@click.option("--override", default="", help="Why, although it is worse than the configuration lets it be.")
@connected
def approve(
    proposal_id: str, binding: str | None, comment: str, override: str, config: Path, url: str | None, key: str, as_json: bool
) -> None:
    """Approve what was measured. Nobody can approve their own proposal."""
    client = _client(config, url, key)
    if binding is None:
        evaluation = client.call("GET", _path(proposal_id))["evaluation"]
        if evaluation is None:
            raise click.ClickException("It was not evaluated yet; `lockgate proposals evaluate` does so.")
        binding = evaluation["binding"]
    _tell(client.call("POST", f"{_path(proposal_id)}/approve", {"binding": binding, "comment": comment, "override": override}), as_json)


@proposals.command()
@connected
def topics(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Find what people ask for and no intent serves; `draft --type new_intent` makes an intent of a topic's decisions."""
    found = _client(config, url, key).call("POST", "/v1/topics")
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, pad_edge=False)
    for name in ("name", "texts", "people", "terms", "decisions"):
        table.add_column(name, overflow="fold")
    for row in found["topics"]:
        cells = (row["name"], row["texts"], row["people"], ", ".join(row["terms"]), " ".join(row["decisions"][:3]))
        table.add_row(*map(text, cells))
    out.print(table if found["topics"] else f"Among {found['texts']} requests without an intent there is no topic.")


@proposals.command()
@connected
def suggest(config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Look for better routes in what became of requests; `adopt` makes a suggestion your proposal."""
    found = _client(config, url, key).call("POST", "/v1/proposals/suggestions")
    if as_json:
        print_json(found)
        return
    for row in found["considered"]:
        print_effect(row["effect"])
        said = f"Suggested: {row['why']}" if row["why"] else f"Not suggested: {row['why_not']}"
        console().print(text(f"{said.replace('_', ' ')}."), "")
    for row in found["suggested"]:
        console().print(text(f"{row['id']}  {_about(row)}"))
    if not found["considered"]:
        console().print("No intent's route has alternatives.")


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@connected
def word(proposal_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Have a language model draft the words of a new intent; `edit` takes them over, or others."""
    _tell(_client(config, url, key).call("POST", f"{_path(proposal_id)}/wording"), as_json)


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@click.option("--drafted", is_flag=True, help="Take over what the language model drafted; the other options come before it.")
@click.option("--name", help="Of the new intent.")
@click.option("--description", help="What is meant, in a sentence.")
@click.option("--rationale", help="Why it is an intent of its own.")
@connected
def edit(
    proposal_id: str,
    drafted: bool,
    name: str | None,
    description: str | None,
    rationale: str | None,
    config: Path,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Give a new intent other words. It has to be evaluated again."""
    client, said = _client(config, url, key), {"name": name, "description": description, "rationale": rationale}
    if drafted:
        wording = client.call("GET", _path(proposal_id))["wording"]
        if wording is None:
            raise click.ClickException("No language model drafted anything for it yet; `lockgate proposals word` asks one.")
        said = {field: said[field] or wording[field] for field in said}
    _tell(client.call("PUT", f"{_path(proposal_id)}/wording", said), as_json)


def _step(name: str, said: str) -> click.Command:
    @proposals.command(name, help=said)
    @click.argument("proposal_id", metavar="ID")
    @click.option("--comment", default="", help="Kept under your key.")
    @connected
    def step(proposal_id: str, comment: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
        _tell(_client(config, url, key).call("POST", f"{_path(proposal_id)}/{name}", {"comment": comment}), as_json)

    return step


adopt = _step("adopt", "Make a suggestion of Lockgate's your own proposal; somebody else has to approve it.")
reject = _step("reject", "End a proposal before it is rolled out; its texts are removed.")
roll_out = _step("roll-out", "Put an approved proposal in force.")
revert = _step("revert", "Go back to what was in force before a proposal.")


@proposals.command()
@click.argument("proposal_id", metavar="ID")
@connected
def export(proposal_id: str, config: Path, url: str | None, key: str, as_json: bool) -> None:
    """Print a patch of the file of what was learnt, for `git apply`."""
    found = _client(config, url, key).call("GET", f"{_path(proposal_id)}/patch")
    if as_json:
        print_json(found)
    else:
        click.echo(found["patch"], nl=False)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    out, table = console(), Table(box=None, show_header=False, pad_edge=False)
    for name in ("id", "state", "type", "decisions", "people", "author", "approver", "version"):
        table.add_row(name, text(found[name]))
    if found["why"]:
        table.add_row("why", text(found["why"].replace("_", " ")))
    table.add_row("about", text(_about(found)))
    for intent in found["intents"].values():
        if "new" in intent:
            table.add_row("description", text(intent["new"]["description"]))
    if found["rationale"]:
        table.add_row("rationale", text(found["rationale"]))
    if found["wording"]:
        _add_wording(table, found["wording"])
    for name, count in found["left_out"].items():
        table.add_row("left out", text(f"{count}: {name.replace('_', ' ')}"))
    for name, said in (found["texts"] or {}).items():
        table.add_row(name, text(said))
    out.print(table)
    effect = (found["evaluation"] or {"figures": {}})["figures"].get("route") or found["effect"]
    if effect is not None:
        print_effect(effect)
    if found["evaluation"] is not None:
        _print_evaluation(found["evaluation"])
    for step in found["history"]:
        reason = f" ({step['reason']})" if step["reason"] else ""
        out.print(text(f"  {step['at']}  {step['event']} by {step['by'] or 'Lockgate'}{reason}"))


def _add_wording(table: Table, wording: dict[str, Any]) -> None:
    used = {None: "not taken over", "all": "taken over as it is", "some": "taken over in part", "none": "others were chosen"}
    table.add_row("drafted by", text(f"{wording['model']} (a language model; {used[wording['used']]})"))
    for name in ("name", "description", "rationale"):
        table.add_row(f"  {name}", text(wording[name]))


def _print_evaluation(evaluation: dict[str, Any]) -> None:
    out, figures = console(), evaluation["figures"]
    table = Table(box=None, pad_edge=False)
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    before, after = figures["before"], figures["after"]
    for name in () if not after["texts"] and "route" in figures else ("texts", "accuracy", "accepted", "wrong", "ece", "nll"):
        table.add_row(name, _number(before[name]), _number(after[name]))
    for name, was in before["intents"].items():
        now = after["intents"][name]
        if was != now:
            table.add_row(f"  {name}", f"{was['right']} of {was['texts']}", f"{now['right']} of {now['texts']}")
    replay = figures["replay"]
    if table.row_count:
        out.print(table)
    if replay["decisions"]:
        out.print(text(f"Of {replay['decisions']} recorded decisions {replay['flips']} would be classified differently."))
    for each in replay["most"]:
        out.print(text(f"  {each['count']} × {each['from']} → {each['to']}"))
    for fault in evaluation["faults"]:
        out.print(text(f"Worse: {fault}"))
    out.print(text(f"binding {evaluation['binding']}"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, int) else f"{value:.4f}"


def _about(row: dict[str, Any]) -> str:
    told = []
    for name, what in row["intents"].items():
        more = [f"+{len(what['examples'])} examples"] if what["examples"] else []
        more += [f"{each} {what[each]}" for each in ("min_confidence", "route") if each in what]
        told.append(f"{name} ({', '.join(more)})")
    if row["out_of_scope"]:
        told.append(f"out of scope (+{len(row['out_of_scope'])} examples)")
    return ", ".join(told)


def _all(client: ControlClient, state: str | None) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        wanted = {name: value for name, value in (("state", state), ("cursor", cursor)) if value is not None}
        page = client.call("GET", f"/v1/proposals?{urlencode(wanted)}")
        yield from page["proposals"]
        cursor = page["next"]
        if cursor is None:
            return


def _path(proposal_id: str) -> str:
    return f"/v1/proposals/{quote(proposal_id, safe='')}"


def _client(config: Path, url: str | None, key: str) -> ControlClient:
    return ControlClient(url or control_url(config), key)
