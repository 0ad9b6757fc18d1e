"""A body with labels in the place of personal data and credentials: JSON and text."""

from __future__ import annotations

import json
from collections.abc import Callable

from router.errors import PolicyError

Masker = Callable[[str], str]
_UNGUESSABLE = "x7Kq9vTz"


def masked(body: bytes, content_type: str, mask: Masker) -> bytes:
    """Raises PolicyError `obligation_failed` for a body that cannot be read."""
    if not body:
        return body
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media == "application/json" or media.endswith("+json"):
            document = _mask_strings("", json.loads(body), mask)
            return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
        if media.startswith("text/"):
            return mask(body.decode("utf-8")).encode("utf-8")
    except (ValueError, RecursionError):
        raise PolicyError("The body could not be read, so it could not be masked.", "obligation_failed") from None
    raise PolicyError(f"A body of type '{media}' cannot be masked.", "obligation_failed")


def _mask_strings(key: str, value: object, mask: Masker) -> object:
    """Strings, keys and numbers that are personal data or credentials, by themselves or because of their key."""
    if isinstance(value, list):
        return [_mask_strings(key, item, mask) for item in value]
    if isinstance(value, dict):
        return {mask(name): _mask_strings(name, item, mask) for name, item in value.items()}
    if isinstance(value, bool) or value is None or value == "":
        return value
    text = str(value)
    masked = _label_of(key, mask) or mask(text)
    return value if masked == text else masked


def _label_of(key: str, mask: Masker) -> str | None:
    """The label for whatever stands under a key such as `password`; None where the key says nothing."""
    masked = mask(f'{key} = "{_UNGUESSABLE}"')
    return None if _UNGUESSABLE in masked else masked.rstrip('"').rpartition('"')[2]
