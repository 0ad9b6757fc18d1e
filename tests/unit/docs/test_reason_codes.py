"""Every reason code of the code base has a row in the operations page, and no row is about a code that nobody emits."""

from __future__ import annotations

from tests.unit.docs.emitted import findings, reason_codes
from tests.unit.docs.pages import first_cells, page, section


def test_every_reason_code_has_a_row() -> None:
    """A code that the code can emit is explained in the operations page."""
    documented = set(first_cells(section(page("operations.md"), "Reason codes")))
    assert sorted(reason_codes() - documented) == []


def test_every_row_is_about_a_code_that_is_emitted() -> None:
    """A code that is gone from the code goes from the page too."""
    documented = set(first_cells(section(page("operations.md"), "Reason codes")))
    assert sorted(documented - reason_codes()) == []


def test_no_code_has_two_rows() -> None:
    """Each code is explained at one place."""
    documented = first_cells(section(page("operations.md"), "Reason codes"))
    assert sorted({code for code in documented if documented.count(code) > 1}) == []


def test_every_finding_of_a_verification_has_a_row() -> None:
    """What `audit verify` can find is explained, and nothing else."""
    assert sorted(first_cells(section(page("operations.md"), "Findings of `audit verify`"))) == sorted(findings())


def test_codes_are_found_wherever_they_stand() -> None:
    """The search sees literals, constants, class attributes, keywords, alternatives, returned tuples, tables and Rego."""
    assert reason_codes() >= {
        "rate_limited",  # an argument
        "audit_disk_full",  # a module's constant
        "policy_error",  # a class attribute
        "margin_too_small",  # a keyword of another call
        "starting",  # one of two
        "undecodable",  # in a returned tuple
        "text_too_long",  # in an assigned tuple
        "response_too_slow",  # an assigned variable
        "review_expired",  # a table's value
        "rbac.no_grant",  # Rego
    }
