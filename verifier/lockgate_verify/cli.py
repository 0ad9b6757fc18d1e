"""`lockgate-verify BUNDLE --key VERIFIER… [--policy FILE] [--checkpoint NOTE] [--json]`

Exit status: 0 all holds; 2 something given beside the bundle is unusable; 3 the answer could not be written; 11 to 20 the first of the
ten steps that fails, plus ten.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lockgate_verify.bundle import MAX_BYTES
from lockgate_verify.failure import STEPS, Refusal, misuse
from lockgate_verify.sentence import sentence, unproven
from lockgate_verify.trust import MAX_NOTE, Given, given
from lockgate_verify.verify import Holding, moment, verify

UNSAID = 3


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        brought = _brought(options)
        holding = verify(_read(options.bundle, MAX_BYTES), brought)
    except Refusal as refusal:
        document: dict[str, Any] = refusal_document(refusal)
    else:
        document = holding_document(holding, brought)
    said = _print(json.dumps(document) if options.json else document["sentence"])
    return int(document["status"]) if said else UNSAID


def holding_document(holding: Holding, brought: Given) -> dict[str, Any]:
    skipped = {6: brought.policy is None, 7: brought.outside is None, 8: not holding.opened, 9: not holding.erased}
    checkpoint = holding.checkpoint
    return {
        "ok": True,
        "status": 0,
        "id": "holds",
        "sentence": sentence(holding),
        "steps": [_step(place, "nothing to check" if skipped.get(place) else "holds") for place in range(1, len(STEPS) + 1)],
        "decision": holding.decision,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "signed_by": str(holding.signer),
        "witnessed": [{"witness": name, "at": moment(at)} for name, at in holding.witnessed],
        "outside_checkpoint": holding.outside,
        "records": [{"index": index, "leaf": leaf} for index, leaf in holding.records],
        "opened": [{"record": index, "field": name, "value": value} for index, name, value in holding.opened],
        "erased": [{"record": index, "erasure": erasure} for index, erasure in holding.erased],
        "not_proven": unproven(holding),
    }


def refusal_document(refusal: Refusal) -> dict[str, Any]:
    states = {place: "holds" if place < refusal.step else "not reached" for place in range(1, len(STEPS) + 1)}
    states[refusal.step] = "fails"
    steps = [_step(place, state) for place, state in sorted(states.items()) if place]
    return {"ok": False, "status": refusal.status, "id": refusal.id, "sentence": refusal.sentence, "steps": steps}


def _step(place: int, state: str) -> dict[str, Any]:
    return {"number": place, "name": STEPS[place - 1], "state": state}


def _brought(options: argparse.Namespace) -> Given:
    policy = None if options.policy is None else _read(options.policy, MAX_NOTE)
    return given(options.key, policy, None if options.checkpoint is None else _read(options.checkpoint, MAX_NOTE))


def _read(path: str, most: int) -> bytes:
    """One byte more than there may be, so that what is too large is found to be."""
    try:
        with open(path, "rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        raise misuse("file_unreadable", f"{path!a} cannot be read.") from error


def _print(line: str) -> bool:
    """In what the terminal can say: a name that it cannot must not end this with a traceback, nor a reader that is gone."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()  # else it is tried again, and complained about, at the very end
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lockgate-verify",
        description="Check a Lockgate evidence bundle offline. Ends with 0 when everything holds, with 2 when a key, policy or checkpoint "
        "given is unusable, and with ten more than the number of the first step that fails: "
        + ", ".join(f"{place} {name}" for place, name in enumerate(STEPS, 11))
        + ".",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="the file that `lockgate audit prove` wrote")
    parser.add_argument(
        "--key", metavar="VERIFIER", action="append", default=[], help="a public key of the ledger, name+keyid+base64; may be repeated"
    )
    parser.add_argument("--policy", metavar="FILE", help="a C2SP tlog-policy: which witnesses must have cosigned")
    parser.add_argument("--checkpoint", metavar="NOTE", help="a file with a checkpoint of this ledger that was kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print every step and what holds as one JSON object")
    return parser
