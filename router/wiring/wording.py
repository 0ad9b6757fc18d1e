"""A language model that drafts words for proposals, through the adapter of the classifier's tier: the same budget, bounds and circuit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from router.adaptation.wording import SCHEMA, SYSTEM, Wording, model_of, question, wording_of
from router.config.learning import WordingConfig
from router.errors import ClassifierError, RefusedError
from router.ports import Chat, Clock
from router.wiring.llm import make_chat
from router.workspace import Workspace


class Drafter:
    def __init__(self, chat: Chat, config: WordingConfig) -> None:
        self._chat = chat
        self._model = config.model

    async def drafted(self, requests: Sequence[str], words: Sequence[str], taken: Collection[str]) -> tuple[Wording, str]:
        """With the version that drafted them. Raises RefusedError; then there are none."""
        if not requests:
            sentence = "Of the words of its texts too few people used any, so there is nothing that a model may be told."
            raise RefusedError(sentence, "wording_nothing", 409)
        try:
            completion = await self._chat.complete(SYSTEM, question(requests, words, taken), SCHEMA)
        except ClassifierError as error:
            said = str(error)
            raise RefusedError(f"{said[:1].upper()}{said[1:]}; the proposal keeps its own words.", error.code, 503) from error
        return wording_of(completion.text, words, taken), model_of(completion.model, self._model)


def make_drafter(workspace: Workspace, clock: Clock) -> Drafter | None:
    """None unless it is switched on. Loads the library, which takes seconds. Raises ConfigError, which names what to install."""
    learning = workspace.config.learning
    if learning is None or learning.wording is None:
        return None
    return Drafter(make_chat(learning.wording, workspace.root, clock, 1, None), learning.wording)
