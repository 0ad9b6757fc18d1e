"""What words alone tell of a catalog."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog_lint import Finding, HeldOutText, Severity, as_findings, lint_words, opened, words
from router.errors import ConfigError
from router.snapshot import Snapshot

HEAD = """\
version: 1
destinations:
  shop: {adapter: http, upstreams: [{url: "http://127.0.0.1:1"}]}
routes:
  ask: {destination: shop, path: /ask, method: POST}
"""
INTENTS = """\
intents:
  buy:
    description: The person wants to buy something.
    route: ask
    examples:
      - I want a chair
      - sell me a table
  return:
    description: The person wants to give something back.
    route: ask
    examples_file: return.txt
"""
SECRET = "ghp_" + "a1B2" * 9


def lint(catalog: str, files: dict[str, str] | None = None, held_out: tuple[HeldOutText, ...] = ()) -> list[Finding]:
    texts = {"lockgate.yaml": "version: 1\n", "catalog.yaml": catalog, "return.txt": "take it back\n\nI do not like it\n", **(files or {})}
    snapshot = Snapshot(Path("/nowhere"), "lockgate.yaml", {name: text.encode() for name, text in texts.items()})
    return lint_words(opened(snapshot, {}), held_out)


def brief(findings: list[Finding]) -> list[tuple[str, str, int]]:
    return [(each.code, each.file, each.line) for each in findings]


def test_a_sound_catalog_has_no_finding() -> None:
    """Nothing is found where nothing is wrong."""
    assert lint(HEAD + INTENTS) == []


def test_the_same_example_under_two_intents_is_an_error() -> None:
    """Case, spacing and punctuation make no difference; both places are told."""
    (finding,) = lint(HEAD + INTENTS, {"return.txt": "take it back\n\nSell me — a TABLE!\n"})
    assert (finding.severity, *brief([finding])[0]) == (Severity.ERROR, "same_example", "return.txt", 3)
    assert "catalog.yaml:12" in finding.sentence


def test_an_example_twice_in_one_intent_is_a_note() -> None:
    """It does no harm and no good."""
    (finding,) = lint(HEAD + INTENTS, {"return.txt": "take it back\nTake it back.\n"})
    assert (finding.severity, finding.code, finding.line) == (Severity.NOTE, "repeated_example", 2)


def test_an_example_that_is_measured_on_is_an_error() -> None:
    """Also where it differs in nothing but writing, and among what is about no intent."""
    outside = "out_of_scope: {examples: [what a day]}\n"
    found = lint(HEAD + INTENTS + outside, held_out=(HeldOutText("i want a chair.", "h.csv", 7), HeldOutText("What a day!", "h.csv", 9)))
    assert [(each.code, each.line) for each in found] == [("leaked_example", 11), ("leaked_example", 17)]
    assert "h.csv:7" in found[0].sentence


@pytest.mark.parametrize(
    ("text", "code", "severity", "kind"),
    [
        ("write to jane.doe@mailbox.org", "personal_data", Severity.WARNING, "email"),
        ("pay to DE89 3704 0044 0532 0130 00", "personal_data", Severity.WARNING, "iban"),
        ("my card 4111 1111 1111 1111 is lost", "personal_data", Severity.WARNING, "card"),
        (f"why is {SECRET} refused", "secret", Severity.ERROR, "github_token"),
    ],
)
def test_personal_data_and_secrets_are_found_and_not_repeated(text: str, code: str, severity: Severity, kind: str) -> None:
    """What a finding says may be copied anywhere."""
    (finding,) = lint(HEAD + INTENTS, {"return.txt": f"take it back\n{text}\n"})
    assert (finding.code, finding.severity, finding.line) == (code, severity, 2)
    assert f"({kind})" in finding.sentence
    assert not {"jane.doe", "3704", "4111", SECRET} & set(finding.sentence.split())
    assert text not in finding.sentence


@pytest.mark.parametrize("address", ["a@shop.example", "a@example.com", "a@b.test", "a@host.invalid"])
def test_addresses_that_are_nobodys_are_no_finding(address: str) -> None:
    """RFC 2606 keeps them for this."""
    assert lint(HEAD + INTENTS, {"return.txt": f"take it back\nwrite to {address} please\n"}) == []


def test_descriptions_that_say_nothing_are_found() -> None:
    """The same as another's, or the intent's name again."""
    catalog = HEAD + INTENTS.replace("The person wants to give something back.", "the person wants to buy something")
    assert brief(lint(catalog)) == [("same_description", "catalog.yaml", 14)]
    assert brief(lint(HEAD + INTENTS.replace("The person wants to give something back.", "Return."))) == [
        ("empty_description", "catalog.yaml", 14)
    ]


def test_a_rule_that_is_shadowed_is_found() -> None:
    """At its own line, with the line of the one that takes everything."""
    rules = """\
    rules:
      - {name: all, match: {path: "/{rest...}"}, intent: buy}
      - {name: some, match: {path: /x}, intent: buy}
    """
    (finding,) = lint(HEAD + INTENTS + textwrap.dedent(rules))
    assert (finding.code, finding.line) == ("shadowed_rule", 19)
    assert "line 18" in finding.sentence


def test_what_nothing_leads_to_is_found() -> None:
    """A route, a destination, an intent without examples, and one whose route there is not."""
    spare = "  spare: {adapter: http, upstreams: [{url: 'http://127.0.0.1:2'}]}\n"
    head = HEAD.replace("routes:", spare + "routes:\n  idle: {destination: shop}")
    intents = INTENTS.replace("route: ask\n    examples_file", "route: aks\n    examples_file")
    found = lint(head + intents + "  mute: {description: Says nothing at all., route: ask}\n")
    assert {each.code for each in found} == {"unused_route", "unused_destination", "unreachable_intent", "no_route"}
    assert {each.code: each.severity for each in found}["unused_destination"] is Severity.WARNING


def test_a_route_for_abstentions_is_used() -> None:
    """Whoever names it."""
    head = HEAD + "  desk: {destination: shop, path: /desk, method: POST}\n"
    intents = INTENTS.replace("route: ask\n    examples:", "route: ask\n    on_abstain: {route: desk}\n    examples:")
    assert lint(head + intents) == []
    listener = "version: 1\ngateway: {on_abstain: {route: desk}}\n"
    assert lint(head + INTENTS, {"lockgate.yaml": listener}) == []
    assert [each.code for each in lint(head + INTENTS)] == ["unused_route"]


def test_what_is_quoted_is_masked() -> None:
    """A finding about something else does not give away what an example holds."""
    text = f"is {SECRET} of jane.doe@mailbox.org right"
    found = lint(HEAD + INTENTS, {"return.txt": f"take it back\n{text}\n{text}!\n"}, (HeldOutText(text, "h.csv", 2),))
    assert {each.code for each in found} == {"repeated_example", "leaked_example", "secret", "personal_data"}
    assert not [each for each in found if SECRET in each.sentence or "jane.doe" in each.sentence]


def test_a_fault_is_not_hidden_by_another_finding_of_its_line() -> None:
    """Personal data in an utterance that is too long: both are told."""
    known = Finding(Severity.WARNING, "personal_data", "a.yaml", 3, "s", "r")
    assert [each.code for each in as_findings(["a.yaml:3: It is too long."], [known])] == ["invalid"]


def test_faults_become_findings_once() -> None:
    """What another finding is about already is not told again, and a sentence without a place is kept."""
    known = Finding(Severity.ERROR, "shadowed_rule", "a.yaml", 3, "s", "r")
    found = as_findings(["a.yaml:3: The same.", "a.yaml:4: Another: one.", "nothing works"], [known])
    assert [(each.line, each.sentence) for each in found] == [(4, "Another: one."), (0, "nothing works")]


@pytest.mark.parametrize("catalog", ["- 1", "a: [", ""])
def test_what_is_no_catalog_is_one_fault(catalog: str) -> None:
    """With file and line."""
    with pytest.raises(ConfigError, match=r"^catalog\.yaml:1"):
        lint(catalog)


@given(st.text())
def test_every_text_has_words(text: str) -> None:
    """Texts of nothing but signs stay apart, and normalising twice changes nothing."""
    assert words(words(text)) == words(text)
