"""What went wrong, as a stable id, one sentence and an exit status. The page in `web/` says the same sentences."""

from __future__ import annotations

STEPS = (
    "format",
    "leaves",
    "inclusion",
    "rotations",
    "signature",
    "witnesses",
    "consistency",
    "opened fields",
    "erasures",
    "decision",
)
USAGE = 2
_FIRST = 10


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of the program
    """`step` counts from 1, as in STEPS; 0 is a mistake in what was given beside the bundle."""

    def __init__(self, step: int, slug: str, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step
        self.id = slug
        self.sentence = sentence

    @property
    def status(self) -> int:
        return _FIRST + self.step if self.step else USAGE


def misuse(slug: str, sentence: str) -> Refusal:
    return Refusal(0, slug, sentence)
