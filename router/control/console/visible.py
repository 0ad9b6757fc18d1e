"""What others wrote, as a page shows it: it must not be read otherwise than it stands by whoever has to say yes to it."""

from __future__ import annotations

import re
from typing import Any

_RIGHT_TO_LEFT = "\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff"
# Orders to show text in another order than it stands, or not at all: directions of Unicode, its tags, and control characters. A mark that
# says right-to-left is natural beside a letter of such a script, and turns numbers around where there is none.
MISLEADING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
    f"|(?<![{_RIGHT_TO_LEFT}])[\u061c\u200f](?![{_RIGHT_TO_LEFT}])"
)


def visible(value: Any) -> Any:
    """Of whatever a template shows; what is markup already was made of values that came this way."""
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return MISLEADING.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
