"""A workspace's classifier by itself: rules, language and tiers. No policy, no ledger, and no language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from router.decision import Classification, Request
from router.stages.classification import Cascade
from router.stages.language import LanguageDetector
from router.stages.rules import Looked, RuleIndex
from router.stages.signals import SignalDetector
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_model, make_tiers
from router.wiring.languages import language_identifier
from router.wiring.stages import UNHURRIED_S, expected_languages, make_cascade, rule_index
from router.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RecordedRequests:
    """Classifies requests of which the text is there and not the body. `of_json`: those of the rules that look into JSON."""

    rules: RuleIndex
    of_json: RuleIndex
    signals: SignalDetector
    cascade: Cascade

    async def classify(self, request: Request, *, no_rule: bool) -> Classification | None:
        looked = Looked() if no_rule else self._look(request)
        if looked is None:
            return None
        return await self.cascade.classify(request, looked.match, looked.undecided, self.signals.inspect(request).language)

    def _look(self, request: Request) -> Looked | None:
        of_head = self.rules.look(request.method, request.path, request.headers, None)
        if not of_head.undecided:
            return of_head
        if _is_json(request) and self.of_json.look(request.method, request.path, request.headers, None).undecided:
            return None
        looked = self.rules.look(request.method, request.path, request.headers, request.body)
        return None if looked.undecided else looked


def _is_json(request: Request) -> bool:
    return bool(request.body.data) and request.content_type.partition(";")[0].strip().lower().endswith("json")


@contextmanager
def open_classifier(workspace: Workspace) -> Iterator[RecordedRequests]:
    """Trains the model first if the workspace has none yet. Raises ConfigError."""
    found = ensure_model(workspace)
    model = load_model(workspace, found) if found is not None else None
    tiers = make_tiers(workspace, model, found)
    language = LanguageDetector(expected_languages(workspace, model), language_identifier(workspace))
    try:
        yield RecordedRequests(
            rule_index(workspace.catalog.rules),
            rule_index([rule for rule in workspace.catalog.rules if rule.match.values]),
            SignalDetector(workspace.config.gateway.limits.view, language),
            make_cascade(workspace, tiers, model, SystemClock(), deadline_s=UNHURRIED_S),
        )
    finally:
        for tier in tiers:
            tier.close()
