"""Attempts to talk a model or a reviewer into something: weighted families of phrases, each of which counts once.

The score is 1 − Π(1 − weight) over the families that occur. It is a signal for policy and never proof: recall is far from complete, and a
quoted attack looks like an attack. Phrases are compared by skeleton (lower case, look-alike digits and signs as letters), so that
`1gn0re` is `ignore`; text whose l e t t e r s stand apart is compared without what stands between them as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import re2

from router.stages.patterns import Place, options, search_set

_OVERRIDE = "(?:ignore|ignoring|disregard|forget|override|overrule|neglect|discard|drop|bypass|do not follow|dont follow|stop following)"
_EARLIER = "(?:previous|prior|above|earlier|preceding|foregoing|existing|initial|original|all|any|your|these|those|system|other|former)"
_ORDERS = (
    "(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?|guardrails?|restrictions?|constraints?|programming"
    "|training|polic(?:y|ies)|orders)"
)
_SECRET_ORDERS = "(?:system prompt|system message|(?:initial|hidden|original|internal|secret|system|developer|your) " + _ORDERS + ")"
_OUTCOME = "(?:approved|pre approved|preapproved|authori[sz]ed|safe|low risk|trusted|harmless|benign|allowed|verified|compliant)"
_THIS = "(?:this|it|me|my|the) ?(?:request|message|prompt|input|query|ticket|text|conversation)?"

# ` ` is any gap between words, `~` up to four words between.
PHRASES: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "override": (
        0.7,
        (
            _OVERRIDE + "~" + _EARLIER + "~" + _ORDERS,
            _OVERRIDE + " (?:everything|anything|all|whatever|what)~(?:above|before|previously|so far|told|been told|instructed)",
            "(?:ignorier(?:e|en)|vergiss|missachte)~(?:vorherigen|bisherigen|obigen|alle|deine)~(?:anweisungen|regeln|instruktionen|vorgaben)",
            "(?:ignore|ignorez|oublie|oubliez)~(?:instructions|consignes|regles)~(?:precedentes|anterieures|systeme)",
            "(?:ignora|olvida|ignore)~(?:instrucciones|reglas|instrucoes|istruzioni)~(?:anteriores|previas|precedenti)",
        ),
    ),
    "role": (
        0.5,
        (
            "you are (?:now|no longer) (?:a|an|the|in|my|bound|restricted|limited|dan|free|going|acting)",
            "(?:act|behave|respond|answer|speak) as (?:if you|though you|the system|system|root|an? (?:unrestricted|uncensored|administrator|admin"
            "|root|developer|different))",
            "(?:pretend|imagine|roleplay|role play) (?:to be|you are|that you|you have|as)",
            "from now on~(?:you|your|respond|answer)",
            "(?:developer|debug|god|admin|maintenance|jailbreak|dan) mode(?: is)? (?:on|enabled|activated|engaged|now)",
            "(?:enter|enable|activate|switch to|switch into) (?:developer|debug|god|admin|maintenance|jailbreak|dan|sudo) mode",
            "do anything now",
            "jailbreak(?:ed|ing)?",
            "(?:your|the) new (?:instructions?|role|persona|rules?|task|objective|system prompt) (?:is|are)",
            "new (?:system )?(?:instructions?|prompt|rules?) (?:follow|below|begin|start)",
        ),
    ),
    "reveal": (
        0.6,
        (
            "(?:reveal|show|print|repeat|output|display|tell|give|leak|dump|expose|write out|share|recite|summari[sz]e)~" + _SECRET_ORDERS,
            "what (?:is|are|was|were)~" + _SECRET_ORDERS,
            "(?:repeat|print|output|show)~(?:words|text|everything|all)~(?:above|before this)",
        ),
    ),
    "outcome": (
        0.45,
        (
            "(?:mark|treat|classify|label|consider|flag|report|rate|regard|tag|score) " + _THIS + "(?: as| to be)? " + _OUTCOME,
            "(?:mark|treat|classify|label|flag) as (?:already )?" + _OUTCOME,
            "(?:return|output|respond with|answer with|reply with|say)~(?:allow|approved|low risk|effect allow|decision allow)",
            "(?:set|raise|report|return)~(?:confidence|risk score|risk level|classification|intent) (?:to|as|is|of)",
            "(?:the )?(?:policy|approval|review|reviewer|security check) (?:is|was|has been) (?:not required|already given|waived|bypassed|disabled)",
        ),
    ),
    "controls": (
        0.45,
        (
            "(?:bypass|circumvent|evade|sidestep|get around|work around|turn off|disable|switch off|without)~(?:guardrails?|safety|moderation"
            "|content filters?|filters|policy engine|policy checks?|security checks?|approval checks?|audit trail|audit log|logging)",
            "(?:without|skip|skipping|avoid)~(?:being )?(?:logged|audited|recorded)",
            "do not (?:log|record|audit) (?:this|it|my)",
        ),
    ),
    "exfiltration": (
        0.5,
        (
            "(?:send|post|forward|upload|email|export|dump|exfiltrate|list|print|give me|show me)~(?:all|every|entire|whole|any|complete|each)~"
            "(?:credentials?|passwords?|secrets?|api keys?|tokens?|private keys?|environment variables|customer data|user data|database|salaries)",
        ),
    ),
    "authority": (
        0.25,
        (
            "(?:i am|this is|im) (?:the|your|an?) (?:developer|creator|system administrator|administrator|admin of this system|openai|anthropic)",
            "(?:system|admin|administrator|root|developer|security) (?:override|notice|command|directive|access granted)",
            "(?:as|being) (?:your|the) (?:developer|creator|operator)",
        ),
    ),
    "encoded": (
        0.35,
        (
            "(?:base ?64|rot ?13|hex|morse|caesar|unicode)~(?:decode|decoded|encoded|cipher)",
            "(?:decode|decrypt|deobfuscate|unscramble|execute|run|follow)~(?:base ?64|rot ?13|hex|payload|encoded (?:text|message|string))",
        ),
    ),
}

# Markup is read as it stands, in lower case.
MARKUP: Mapping[str, tuple[float, tuple[bytes, ...]]] = {
    "delimiter": (
        0.6,
        (
            rb"<\|[a-z0-9_ ]{2,24}\|>",
            rb"\[/?(?:inst|sys|system)\]",
            rb"<</?sys>>",
            rb"</?(?:system|system[_-]prompt|instructions?|assistant|prompt|user[_-]?(?:input|message|query|request)|untrusted|context|tool[_-]?calls?"
            rb"|function[_-]?calls?)(?:\s[^<>]{0,80})?>",
            rb"(?m)^\s*(?:[#>*]{1,6}\s*)?(?:system|assistant|developer)(?:[ _](?:prompt|message|instructions?|override))?\s*:",
            rb"(?m)^\s*(?:human|assistant)\s*:.*\n+\s*(?:human|assistant)\s*:",
            rb"```\s*(?:system|instructions?|prompt)\b",
            rb"(?:-{3,}|={3,}|#{3,}|\*{3,})\s*(?:begin|end|start|stop)(?: of)?(?: the)? (?:system|prompt|instructions?|user|input|context|untrusted)",
            rb"[\"']role[\"']\s*:\s*[\"'](?:system|assistant|developer|tool)[\"']",
        ),
    ),
    "payload": (
        0.3,
        (
            rb"(?:\\u00[0-9a-f]{2}){4}",
            rb"(?:\\x[0-9a-f]{2}){4}",
            rb"(?:%[0-9a-f]{2}){6}",
            rb"(?:&#x?[0-9a-f]{2,6};){4}",
            rb"[a-z0-9+/]{120}",
            rb"(?:\b[01]{8}\b\s*){6}",
        ),
    ),
    "image": (0.4, (rb"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&][^)]*=", rb"<(?:script|iframe|object|embed)\b")),
}

Expression = TypeVar("Expression")
_SPACED = rb"(?:\b[a-z0-9][^a-z0-9]{1,3}){7}"
_SKELETON = bytes.maketrans(b"013457@$!|l", b"oieastasiii")
_BETWEEN_LETTERS = bytes(sorted(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz")))


def _skeleton(phrase: str, gap: str, words: str) -> bytes:
    return phrase.replace("l", "i").replace(" ?", gap.replace("+", "*")).replace(" ", gap).replace("~", words).encode("ascii")


def _apart(phrase: str) -> bytes:
    return _skeleton(phrase, r"[\W_]+", r"(?:[\W_]+\w+){0,4}[\W_]+")


def _together(phrase: str) -> bytes:
    return _skeleton(phrase, "", ".{0,20}")


@dataclass(frozen=True, slots=True)
class Injection:
    """`places` are byte offsets into the folded text; a family that was found only with its letters apart has none."""

    score: float
    families: tuple[str, ...]
    places: tuple[Place, ...]


class InjectionDetector:
    def __init__(self) -> None:
        self._phrases = [(family, phrase) for family, (_, phrases) in PHRASES.items() for phrase in phrases]
        self._markup = [(family, expression) for family, (_, expressions) in MARKUP.items() for expression in expressions]
        self._weights = {family: weight for family, (weight, _) in (*PHRASES.items(), *MARKUP.items())}
        self._any_phrase = search_set([_apart(phrase) for _, phrase in self._phrases])
        self._any_squeezed = search_set([_together(phrase) for _, phrase in self._phrases])
        self._any_markup = search_set([expression for _, expression in self._markup] + [_SPACED])

    def find(self, data: bytes) -> Injection | None:
        lowered = data.lower()
        skeleton = lowered.translate(_SKELETON)
        marked = self._any_markup.Match(lowered) or ()
        said = self._any_phrase.Match(skeleton) or ()
        spaced = len(self._markup) in marked
        squeezed = self._any_squeezed.Match(skeleton.translate(None, _BETWEEN_LETTERS)) or () if spaced else ()
        if not marked and not said:
            return None
        found = [(family, _place(expression, lowered)) for family, expression in _chosen(self._markup, marked)]
        found += [(family, _place(_apart(phrase), skeleton)) for family, phrase in _chosen(self._phrases, said)]
        found += [(family, None) for family, _ in _chosen(self._phrases, squeezed)]
        return self._weighed(found)

    def _weighed(self, found: Sequence[tuple[str, Place | None]]) -> Injection | None:
        if not found:
            return None
        families = tuple(sorted({family for family, _ in found}))
        left = 1.0
        for family in families:
            left *= 1.0 - self._weights[family]
        return Injection(1.0 - left, families, tuple(sorted({place for _, place in found if place is not None})))


def _chosen(expressions: Sequence[tuple[str, Expression]], numbers: Iterable[int]) -> Iterator[tuple[str, Expression]]:
    return (expressions[number] for number in sorted(numbers) if number < len(expressions))


def _place(expression: bytes, data: bytes) -> Place | None:
    found = re2.compile(expression, options()).search(data)
    return found.span() if found is not None and found.end() > found.start() else None
