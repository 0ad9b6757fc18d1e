"""Settings that are words of a certain form, with a sentence for those that are not."""

from __future__ import annotations

import re

from pydantic import AfterValidator


def worded(pattern: str, says: str) -> AfterValidator:
    """`says` goes on after "must be"."""
    form = re.compile(pattern)

    def held(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(f"must be {says}")
        return value

    return AfterValidator(held)
