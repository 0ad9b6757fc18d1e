"""The Date field of responses (RFC 9110 §6.6.1): the upstream's own where it has one, else ours."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache


def date_field() -> bytes:
    return _formatted(int(time.time()))


@lru_cache(maxsize=1)
def _formatted(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
