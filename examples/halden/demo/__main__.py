"""`make demo`: Halden behind Lockgate, or behind Envoy that asks Lockgate, or at its real size on servers. With `--once` every expectation
is checked and the demonstration ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from examples.halden.demo import interrupts
from examples.halden.demo.client import Caller, Mail
from examples.halden.demo.company import LISTENERS, SERVER_PORTS, SERVICES, Company, NotReadyError, free_ports
from examples.halden.demo.envoy import ENVOY_PORTS, with_door
from examples.halden.demo.preparing import prepare
from examples.halden.demo.requests import Asking, requests
from examples.halden.demo.show import Seen, header, row
from router.stages.signals import SignalDetector

AUDITOR = "audit.desk"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="check every expectation, then end")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--envoy", action="store_true", help="Envoy carries the requests and asks Lockgate about each")
    form.add_argument("--company", action="store_true", help="on PostgreSQL, Redis, NATS and Temporal instead of embedded parts")
    options = parser.parse_args()
    interrupts.by_exceptions()  # so that nothing is left running
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="lockgate-demo-") as folder, tempfile.TemporaryDirectory(prefix="lockgate-demo-data-") as data:
        names = (*LISTENERS, *SERVICES, *(ENVOY_PORTS if options.envoy else ()), *(SERVER_PORTS if options.company else ()))
        company = Company(Path(folder), dict(zip(names, free_ports(len(names)), strict=True)))
        try:
            if options.envoy:
                company.workspace = with_door(company.folder, company.ports["door"])
            return run(console, company, Path(data), options.once)
        except NotReadyError as error:
            console.print(f"[bold red]{error}[/]")
            if error.log is not None:
                console.print(_last_lines(error.log), markup=False)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            interrupts.ignored()
            company.stop()


def run(console: Console, company: Company, data: Path, once: bool) -> int:
    credentials = prepare(console, company, data)
    front = "envoy" if "envoy" in company.ports else "gateway"
    caller = Caller(company, front, credentials, AUDITOR, mail(company))
    services = ", ".join(company.url(name) for name in company.services)
    who = "Envoy, which asks Lockgate," if front == "envoy" else "Lockgate"
    console.print(f"\nHalden's services run on {services}; {who} in front of them on {company.url(front)}.\n")
    header(console)
    wrong = 0
    results: list[tuple[Asking, Seen]] = []
    for asking in requests(delivered=front == "gateway"):
        seen = caller.ask(asking)
        fault = difference(asking, seen)
        wrong += fault is not None
        results.append((asking, seen))
        row(console, asking.who or "nobody", SignalDetector().mask(asking.shown), seen, fault)
    wrong += review(console, company, caller, results)
    wrong += summary(console, company, caller, results)
    if once:
        console.print(f"\n{'Everything was as expected.' if not wrong else f'{wrong} expectations were not met.'}")
        return 1 if wrong else 0
    try_next(console, company, credentials)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    return 0


def mail(company: Company) -> Mail | None:
    """Where events come and notices go, unless that is over HTTP."""
    if not company.at_size:
        return None
    from examples.halden.company.servers import streams  # with libraries that a plain demonstration does without

    return streams(company)


def difference(asking: Asking, seen: Seen) -> str | None:
    """Where what happened is not what had to; None when it is."""
    expected = asking.expected
    pairs = {
        "status": (expected.status, seen.status),
        "intent": (expected.intent, seen.of("classification", "intent")),
        "effect": (expected.effect, seen.of("verdict", "effect")),
        "reason": (expected.reason, ((seen.of("verdict", "reasons") or [seen.code]) or [""])[0]),
        "tier": (expected.tier, seen.of("classification", "tier")),
        "classification": (expected.classification, seen.of("classification", "status")),
        "attempts": (expected.attempts, seen.outcome.get("attempts")),
        "then": (expected.then, seen.then),
    }
    optional = {"intent", "reason", "tier", "classification", "attempts", "then"}
    faults = [
        f"{name} {got!r} instead of {want!r}"
        for name, (want, got) in pairs.items()
        if want != got and not (want is None and name in optional)
    ]
    return ", ".join(faults) or None


def review(console: Console, company: Company, caller: Caller, results: list[tuple[Asking, Seen]]) -> int:
    """A colleague approves what was held; Lockgate then sends it, and the payment is really cancelled."""
    held = [seen.decision["id"] for _, seen in results if seen.of("verdict", "effect") == "review"]
    before = _status_of_4711(company, caller)
    console.print(f"\npayment 4711 is '{before}' while the request to cancel it waits; {AUDITOR} approves it")
    for review_id in held:
        shown = caller.control("GET", f"/v1/reviews/{review_id}")
        approval = {"comment": "checked with Anna", "content_digest": shown["content_digest"]}
        caller.control("POST", f"/v1/reviews/{review_id}/approve", approval)
    after = _eventually_cancelled(company, caller)
    console.print(f"payment 4711 is now '{after}'")
    return int(not held or before == "cancelled" or after != "cancelled")


def _eventually_cancelled(company: Company, caller: Caller) -> str:
    status = ""
    for _ in range(100):
        status = _status_of_4711(company, caller)
        if status == "cancelled":
            break
        time.sleep(0.05)
    return status


def _status_of_4711(company: Company, caller: Caller) -> str:
    """As the service itself has it."""
    return str(caller.service(company.ports["payments"], "/payments/4711")["payment"]["status"])


def summary(console: Console, company: Company, caller: Caller, results: list[tuple[Asking, Seen]]) -> int:
    endings = Counter(str(seen.outcome.get("result", "refused")) for _, seen in results)
    slowest = max(seen.millis for _, seen in results)
    counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    console.print(f"\n{len(results)} requests: {counts}; the slowest took {slowest:.0f} ms")
    checkpoint = company.folder / "checkpoint-kept-elsewhere"
    checkpoint.write_text(caller.latest_checkpoint())
    verified = _lockgate(company, "audit", "verify", *_where(company), "--checkpoint", str(checkpoint))
    console.print(verified.stdout.strip() or verified.stderr.strip())
    return int(verified.returncode != 0) + _works(console, company, results) + _holdings(console, company)


def _works(console: Console, company: Company, results: list[tuple[Asking, Seen]]) -> int:
    """How the last work ended, as `lockgate audit show` tells it to anybody."""
    seen = next((seen for _, seen in reversed(results) if seen.by), None)
    if seen is None:
        return 0
    shown = _lockgate(company, "audit", "show", str(seen.decision["id"]), *_where(company)).stdout
    told = [" ".join(line.split()) for line in shown.splitlines() if line.strip().startswith("evidence.")]
    ended = "; ".join(line.removeprefix("evidence.") for line in told) or "nothing"
    console.print(f"\nthe last work was to be '{seen.then}', and left on record: {ended} (lockgate audit show {seen.decision['id']})")
    return int(not any(seen.then in line for line in told))


def _holdings(console: Console, company: Company) -> int:
    """What the servers have now; each must have something."""
    if not company.at_size:
        return 0
    from examples.halden.company.servers import held  # as in `mail`

    found = held(company)
    console.print(", ".join(f"{name}: {count}" for name, count in found.items()))
    return sum(count == 0 for count in found.values())


def _where(company: Company) -> tuple[str, ...]:
    """Where the ledger is: a folder, or what the configuration says."""
    if company.at_size:
        return ("--config", str(company.workspace))
    return ("--state", str(company.folder / "state"))


def _lockgate(company: Company, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lockgate", *arguments]
    return subprocess.run(command, env=company.environment, capture_output=True, text=True, check=False)


def try_next(console: Console, company: Company, credentials: Mapping[str, str]) -> None:
    lockgate = f"{os.path.relpath(sys.executable)} -m lockgate"
    config = company.workspace / "lockgate.yaml"
    config = config.relative_to(Path.cwd()) if config.is_relative_to(Path.cwd()) else config
    front = company.url("envoy" if "envoy" in company.ports else "gateway")
    if company.at_size:  # addresses and passwords of servers: not for everybody who sees a process' arguments
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in company.own_environment.items())
        environment = f". {company.secret('environment', ''.join(lines))};"
    else:
        environment = f"HALDEN_STATE={company.environment['HALDEN_STATE']} HALDEN_JWKS={company.environment['HALDEN_JWKS']}"
    console.print("\n[bold]Three things to try next[/], in another terminal; Ctrl-C here ends everything:")
    asked = "-H 'content-type: text/plain' -d 'is payment 4715 stuck?'"
    console.print(f"  curl -i {front}/ask -H 'authorization: {credentials['anna.lind']}' {asked}")
    console.print(f"  {environment} {lockgate} explain 'stop the transfer to Nordfracht' --as anna.lind --config {config}")
    console.print(f"  {environment} {lockgate} console link --config {config} --port {company.ports['control']}  # for your browser")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
