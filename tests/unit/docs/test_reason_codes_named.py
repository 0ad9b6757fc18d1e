"""Every reason code is named by a test that can see it: a failure mode without one may be taken out of the code unnoticed."""

from __future__ import annotations

import re
from functools import cache

from tests.unit.docs.emitted import ROOT, reason_codes

WORD = re.compile(r"[a-z][a-z0-9_.]*")
APART = frozenset({"docs", "bench"})
TEXTS = frozenset({".py", ".rego", ".txt", ".yaml", ".jsonl"})
# Of none of these a request, an event or a record is denied or lost: they answer who works at the console, the control API or the command
# line, which do nothing then. What can be met on a request's way has no place here.
EXEMPT = frozenset(
    {
        # commands, which end with the sentence
        "audit_store_unsuited",
        "control_unreachable",
        "index_off",
        "record_other",
        "report_invalid",
        # what is learnt and proposed
        "learned_missing",
        "learned_unwritable",
        "learning_unreadable",
        "learning_unrecorded",
        "proposal_busy",
        "proposal_not_found",
        "proposal_trial_ended",
        # policies over HTTP, and rollouts
        "policy_media_type",
        "policy_unusable",
        "policy_version_ambiguous",
        "replay_too_large",
        "rollout_author_erased",
        "rollout_elsewhere",
        "rollout_same",
        # what is not switched on
        "nodes_not_configured",
        "sign_in_off",
        # between our own processes, which do not ask before they are connected
        "not_connected",
        # the default of a class, all of whose errors say more
        "unauthenticated",
    }
)


def test_every_reason_code_is_named_by_a_test() -> None:
    """Those of the pages' own tests do not count, for they see the page and not what happens."""
    assert sorted(reason_codes() - named() - EXEMPT) == []


def test_nothing_is_exempt_that_need_not_be() -> None:
    """A code that is gone, or that a test names by now, is not in the list any more."""
    assert sorted(EXEMPT - (reason_codes() - named())) == []


@cache
def named() -> frozenset[str]:
    """Whole words in tests of Python and Rego and in what is beside them."""
    tests = [each for each in (ROOT / "tests").rglob("*") if each.suffix in TEXTS and APART.isdisjoint(each.relative_to(ROOT).parts)]
    texts = (each.read_text(encoding="utf-8", errors="replace") for each in (*tests, *(ROOT / "policies").rglob("*_test.rego")))
    return reason_codes() & {word for text in texts for word in WORD.findall(text)}
