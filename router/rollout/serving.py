"""What decides, as rollouts ask for it."""

from __future__ import annotations

from typing import Protocol

from router.bundle.versions import Override
from router.rollout.figures import Figures
from router.rollout.stage import Stage
from router.rollout.state import Rollout


class Serving(Protocol):
    """What decides, in all workers."""

    async def begin(self, rollout: Rollout) -> None:
        """Every worker judges by the candidate, too, as the rollout's stage says. Raises ConfigError; nothing has changed then."""

    async def step(self, rollout_id: str, stage: Stage) -> None:
        """Returns when every worker knows it."""

    async def end(self) -> None:
        """No worker has a candidate any more. Raises ConfigError where that has to be tried again."""

    async def figures(self, rollout_id: str) -> list[Figures]:
        """What each worker counted since the last time."""

    async def put_in_force(self, override: Override) -> None:
        """Raises ConfigError; what serves goes on serving."""

    @property
    def over(self) -> tuple[str, str]:
        """Digests of the policies in force, as they are written and as verdicts bear them."""

    @property
    def sequence(self) -> int | None:
        """The highest sequence of a bundle that was ever in force."""
