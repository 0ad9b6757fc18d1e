"""Credentials that can be told by their form, or by the word in front of them."""

from __future__ import annotations

from collections.abc import Sequence

from router.stages.patterns import Pattern, Patterns, Place

_WORDS = frozenset(
    b"change changed expired expires forgot forgotten help invalid lost missing none null please required reset true false unknown wrong"
    .split()
)  # fmt: skip
_NAMED = (
    rb"(?i)\b\w*(?:password|passwd|pwd|passphrase|passcode|passwort|kennwort|secret|api[_ -]?key|access[_ -]?key|secret[_ -]?key"
    rb"|private[_ -]?key|auth[_ -]?token|access[_ -]?token|refresh[_ -]?token|client[_ -]?secret|secret[_ -]?access[_ -]?key)"
)


def _is_label(value: bytes) -> bool:
    """Whether something was masked here before."""
    return value.startswith(b"[") and value.endswith(b"]") and value[1:-1].replace(b"_", b"").isalpha()


def _unmasked(data: bytes, start: int, end: int) -> Sequence[Place]:
    return () if _is_label(data[start:end]) else ((start, end),)


def _telling(data: bytes, start: int, end: int) -> Sequence[Place]:
    """A value that is no ordinary word: after `is` or a colon people also write sentences."""
    value = data[start:end].rstrip(b"\"'.,;)")
    if len(value) < 4 or value.lower() in _WORDS or _is_label(value):
        return ()
    return ((start, start + len(value)),)


def _unlike_a_word(data: bytes, start: int, end: int) -> Sequence[Place]:
    value = data[start:end].rstrip(b"\"'.,;)?!")
    plain = value.replace(b"-", b"").replace(b"'", b"").isalpha() and value[1:] == value[1:].lower()
    return () if plain else _telling(data, start, end)


SECRETS = (
    Pattern(
        "secret.private_key",
        "[private_key]",
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]*-----|\z)",
    ),
    Pattern("secret.aws_key", "[aws_key]", rb"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}\b"),
    Pattern("secret.github_token", "[github_token]", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    Pattern("secret.gitlab_token", "[gitlab_token]", rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    Pattern("secret.slack_token", "[slack_token]", rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    Pattern("secret.slack_webhook", "[slack_webhook]", rb"\bhttps://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{10,}"),
    Pattern("secret.jwt", "[jwt]", rb"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    Pattern("secret.anthropic_key", "[anthropic_key]", rb"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    Pattern("secret.openai_key", "[openai_key]", rb"\bsk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,})"),
    Pattern("secret.google_key", "[google_key]", rb"\bAIza[A-Za-z0-9_-]{35}"),
    Pattern("secret.stripe_key", "[stripe_key]", rb"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    Pattern("secret.lockgate_key", "[lockgate_key]", rb"\blgk_[a-z0-9]{8}_[A-Za-z0-9_-]{20,}"),
    Pattern("secret.bearer_token", "[bearer_token]", rb"(?i)\bbearer[ \t]+([a-z0-9._~+/-]{20,}=*)"),
    Pattern("secret.url_password", "[password]", rb"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@", _unmasked),
    Pattern("secret.password_assignment", "[password]", _NAMED + rb"[\"']?\s*[:=]\s*\"([^\"]{4,})\"", _telling),
    Pattern("secret.password_assignment", "[password]", _NAMED + rb"[\"']?[ \t]*=[ \t]*([^\s\"']{4,})", _telling),
    Pattern("secret.password_assignment", "[password]", _NAMED + rb"[ \t]*:[ \t]*([^\s\"']{4,})[ \t]*(?:$|[\r\n,;}])", _telling),
    Pattern("secret.password_assignment", "[password]", _NAMED + rb"[ \t]*(?::|is|ist)[ \t]+[\"']?([^\s\"']{6,})", _unlike_a_word),
)


def secrets() -> Patterns:
    return Patterns(SECRETS)
