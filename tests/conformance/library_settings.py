"""Settings of the library's packages under which its fixture goes on, and policies of others that allow everything."""

from __future__ import annotations

from typing import Any

FOREIGN = {
    "mine/admission.rego": 'package lockgate.admission\n\nresult := {"effect": "allow"}\n',
    "mine/decision.rego": 'package lockgate.decision\n\nresult := {"effect": "allow"}\n',
}
REVIEW = {"reviewers": ["manager"], "quorum": 2, "expires": "4h"}
LEVEL = {"tiers": ["rule", "encoder"], "most_plausible": 2, "novelty": 0.5, "injection": 0.5, "otherwise": "review"}
SETTINGS: dict[str, Any] = {
    "rbac": {"access": {"intents": {"pay": {"clerk": ["eu"]}}, "risks": {"low": {"clerk": ["*"]}}, "routes": {}}},
    "abac": {
        "abac": {
            "otherwise": "deny",
            "rules": [
                {"intents": ["pay"], "groups": ["payments"], "claims": {"clearance": [2, 3]}, "path": {"part": 0, "claim": "branch"}},
                {"intents": ["ask"], "tenants": ["us"]},
                {"risks": ["high"], "tenants": ["eu"]},
            ],
        }
    },
    "confidence_floors": {
        "confidence": {"intents": {}, "risks": {"low": 0.6, "high": 0.9}, "abstained": {}},
        "review": {"levels": {"other": {"quorum": 1, "expires": "4h"}}, "reviewers": {"otherwise": ["manager"], "destinations": {}}},
    },
    "tenant_isolation": {"tenant": {"required": True, "known": ["eu", "us"], "header": "x-tenant", "hosts": {"us.example": "us"}}},
    "geo_isolation": {
        "geo_isolation": {
            "tenants": {"eu": "europe", "us": "america"},
            "destinations": {"bank": ["europe"], "crm": ["america", "europe"]},
            "hosts": {"us.example": "america"},
            "everywhere": ["status"],
        }
    },
    "pii_egress": {
        "pii_egress": {
            "regions": {"bank": "europe", "crm": "america"},
            "rules": [
                {"kinds": ["pii.iban"], "destinations": ["bank"], "then": "allow"},
                {"kinds": ["pii.email"], "then": "deny"},
                {"kinds": ["*"], "regions": ["america"], "tenants": ["eu"], "then": "deny"},
            ],
            "otherwise": "mask",
        }
    },
    "working_hours": {
        "working_hours": {
            "zone": "Europe/Stockholm",
            "days": ["Monday", "Saturday"],
            "spans": [{"from": "08:00", "to": "12:00"}, {"from": "13:00", "to": "24:00"}],
            "holidays": ["2026-12-26"],
            "exempt": ["on_call"],
            "otherwise": "deny",
        }
    },
    "separation_of_duties": {
        "separation_of_duties": {
            "exclusive": [["clerk", "manager"]],
            "kept_from": {"pay": ["visitor"]},
            "second_person": {"ask": REVIEW},
        }
    },
    "ai_answer_limits": {
        "ai_answer_limits": {"levels": {"low": LEVEL, "high": {"tiers": ["rule"], "otherwise": "deny"}}, "review": REVIEW},
    },
    "route_choice": {
        "route_choice": {"failing": 0.05, "unsure": {"below": 0.8, "routes": {"bank.ask": "bank.senior"}}, "cheaper": {"from": 0.95}}
    },
    "source_address": {
        "source_address": {
            "allowed": ["192.0.2.0/24", "2001:db8::/32"],
            "refused": ["192.0.2.66/32"],
            "tenants": {"us": {"allowed": ["192.0.2.128/25"]}, "*": {"refused": ["2001:db8:9::/48"]}},
            "roles": {"admin": {"allowed": ["192.0.2.0/28"]}, "clerk": {"refused": ["192.0.2.96/27"]}},
        }
    },
    "break_glass": {
        "break_glass": {
            "header": "x-break-glass",
            "lifts": ["rbac.no_grant", "working_hours.closed", "risk.high"],
            "longest_hours": 8,
            "ask": {**REVIEW, "roles": ["on_call"], "intents": ["*"]},
            "grants": [
                {
                    "subject": "ada",
                    "intents": ["pay"],
                    "from": "2026-11-28T08:00:00Z",
                    "until": "2026-11-28T12:00:00Z",
                    "approved_by": ["grace", "linus"],
                    "ticket": "INC-4711",
                }
            ],
        }
    },
}


def settings_of(*names: str) -> dict[str, Any]:
    """The data of these packages."""
    return {"lockgate": {"config": {key: value for name in names for key, value in SETTINGS[name].items()}}}
