"""The page on classification shows a rule that the engine takes."""

import re
import textwrap

from adapters.rego.embedded import load
from tests.unit.docs.pages import page
from tests.unit.docs.test_policies_page import DATA, POLICIES

PAGE = page("classification.md")
HEAD = "package lockgate.rules.risk.language\n\nimport data.lockgate.lib.violation\n\n"


def test_the_rule_about_other_languages_loads() -> None:
    """As it stands there, in a package of its own beside the shipped ones."""
    (shown,) = re.findall(r"^ *```rego\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    load({**POLICIES, "language.rego": HEAD + textwrap.dedent(shown)}, DATA)
