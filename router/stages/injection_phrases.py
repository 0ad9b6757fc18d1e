"""What injections say: families of phrases and of markup, each with the weight that it adds to the score.

Benign requests talk about policies, systems and approvals all day, so a phrase names what only an instruction to a model would name.
"""

from __future__ import annotations

from collections.abc import Mapping

Families = Mapping[str, tuple[float, tuple[str, ...]]]

_OVERRIDE = "(?:ignore|ignoring|disregard|forget|override|overrule|neglect|bypass|do not follow|dont follow|don t follow|stop following)"
_EARLIER = "(?:previous|prior|above|earlier|preceding|foregoing|existing|initial|original|all|any|your|these|those|system|other|former)"
_ORDERS = (
    "(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?|guardrails?|restrictions?|constraints?|programming)"
)
_SECRET_ORDERS = (
    "(?:system (?:prompt|message|instructions?)|(?:initial|hidden|original|secret|developer) " + _ORDERS + "|your (?:instructions?|prompt"
    "|programming|guardrails?))"
)
_OUTCOME = "(?:approved|pre approved|preapproved|authori[sz]ed|safe|low risk|trusted|harmless|benign|allowed|verified|compliant)"
_THIS = "(?:this|it|me|my|the)(?: (?:request|message|prompt|input|query|ticket|text|conversation))?"

# A space is any gap between words, `~` up to three words between.
PHRASES: Families = {
    "override": (
        0.7,
        (
            f"{_OVERRIDE}~{_EARLIER}~{_ORDERS}",
            f"{_OVERRIDE} (?:everything|anything|all|whatever|what)~(?:above|before|previously|so far|told|instructed)",
            "forget~your~(?:training|programming)",
            "(?:ignorier(?:e|en)|vergiss|missachte)~(?:vorherigen|bisherigen|obigen|alle|deine)~(?:anweisungen|regeln|instruktionen|vorgaben)",
            "(?:ignore|ignorez|oublie|oubliez)~(?:instructions|consignes|regles)~(?:precedentes|anterieures|systeme)",
            "(?:ignora|olvida|ignore)~(?:instrucciones|reglas|instrucoes|istruzioni)~(?:anteriores|previas|precedenti)",
        ),
    ),
    "role": (
        0.5,
        (
            "you are (?:now|no longer) (?:a|an|bound|restricted|limited|dan|free|acting|in (?:developer|debug|god|admin) mode)",
            "(?:act|behave|respond|answer|speak) as (?:if you|though you|the system|system|root|an? (?:unrestricted|uncensored|different))",
            "(?:act|behave|respond|answer|speak) as an? (?:administrator|admin|root|developer)",
            "(?:pretend|imagine|roleplay|role play) (?:to be|you are|that you|you have|as)",
            "from now on you (?:are|will|must|act|respond|answer|should|have|do)",
            "(?:developer|debug|god|admin|jailbreak|dan) mode(?: is)? (?:on|enabled|activated|engaged|now)",
            "(?:enter|enable|activate|switch to|switch into) (?:developer|debug|god|admin|jailbreak|dan|sudo) mode",
            "do anything now",
            "jailbreak(?:ed|ing)? (?:yourself|the|your|mode|prompt)",
            "your new (?:instructions?|role|persona|rules?|task|objective|system prompt) (?:is|are)",
            "new (?:system )?(?:instructions?|prompt|rules?) (?:follow|below|begin|start)",
        ),
    ),
    "reveal": (
        0.6,
        (
            f"(?:reveal|show|print|repeat|output|display|tell|give|leak|dump|expose|write out|share|recite|summari[sz]e)~{_SECRET_ORDERS}",
            f"what (?:is|are|was|were)~{_SECRET_ORDERS}",
            "(?:repeat|print|output)~(?:words|text|everything|all)~(?:above|before this)",
        ),
    ),
    "outcome": (
        0.45,
        (
            f"(?:mark|treat|classify|label|consider|flag|report|rate|regard|tag|score) {_THIS}(?: as| to be)?(?: already)? {_OUTCOME}",
            f"(?:mark|treat|classify|label|flag) as(?: already)? {_OUTCOME}",
            "(?:return|output|respond with|answer with|reply with)~(?:allow|approved|low risk|effect allow|decision allow)",
            "(?:set|raise|report|return)~(?:confidence|risk score|risk level|classification|intent) (?:to|as|is|of)",
            "(?:policy|approval|review|security check) (?:is|was|has been) (?:not required|already given|waived|bypassed|disabled)",
        ),
    ),
    "controls": (
        0.45,
        (
            "(?:bypass|circumvent|evade|sidestep|get around|turn off|disable|switch off)~(?:guardrails?|safety|moderation|content filters?"
            "|policy engine|policy checks?|security checks?|approval checks?|audit trail|audit log)",
            "(?:without|skip|skipping|avoid) (?:being )?(?:logged|audited|recorded)",
            "do not (?:log|record|audit) (?:this|it|my)",
        ),
    ),
    "exfiltration": (
        0.5,
        (
            "(?:send|post|forward|upload|email|export|dump|exfiltrate|list|print|give me|show me)~(?:all|every|entire|whole|complete|each)~"
            "(?:credentials?|passwords?|secrets?|api keys?|tokens?|private keys?|environment variables|customer data|user data|database"
            "|salaries)",
        ),
    ),
    "authority": (
        0.25,
        (
            "(?:i am|this is|im|i m) (?:the|your|an?) (?:developer|creator|system administrator|admin of this system|openai|anthropic)",
            "(?:system|admin|administrator|root|developer|security) (?:override|command|directive|access granted)",
            "as your (?:developer|creator|operator|administrator)",
        ),
    ),
    "encoded": (
        0.35,
        (
            "(?:base 64|base64|rot 13|rot13|hex|morse|caesar)~(?:decode|decoded|encoded|cipher)",
            "(?:decode|decrypt|deobfuscate|unscramble|execute)~(?:base64|rot13|hex|payload|encoded (?:text|message|string))",
        ),
    ),
}

# Markup is read as it stands, in lower case.
MARKUP: Families = {
    "delimiter": (
        0.6,
        (
            r"<\|[a-z0-9_ ]{2,24}\|>",
            r"\[/?(?:inst|sys|system)\]",
            r"<</?sys>>",
            r"</?(?:system|system[_-]prompt|instructions?|assistant|prompt|untrusted|tool[_-]?calls?|function[_-]?calls?)(?:\s[^<>]{0,80})?>",
            r"</?user[_-]?(?:input|message|query|request)(?:\s[^<>]{0,80})?>",
            r"(?m)^[\s\"'#>*]*system[ _](?:prompt|message|instructions?|override)[\s*]*:",
            r"```\s*(?:system|instructions?|prompt)\b",
            r"(?:-{3,}|={3,}|#{3,}|\*{3,})\s*(?:begin|end|start)(?: of)?(?: the)? (?:system|prompt|instructions?|user|context)",
            r"[\"']role[\"']\s*:\s*[\"'](?:system|assistant|developer|tool)[\"']",
        ),
    ),
    "speaker": (0.2, (r"(?m)^[\s\"'#>*]*(?:system|assistant|developer)[\s*]*:",)),
    "escapes": (0.3, (r"(?:\\u00[0-9a-f]{2}){4}", r"(?:\\x[0-9a-f]{2}){4}", r"(?:&#x?[0-9a-f]{2,6};){4}", r"(?:\b[01]{8}\b\s*){6}")),
    "blob": (0.1, (r"(?:%[0-9a-f]{2}){12}", r"[a-z0-9+/]{160}")),
    "markdown": (0.4, (r"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&][^)]*=", r"<(?:script|iframe)\b")),
}
