"""Whether the tests of reviews would see a fault: `python -m tests.mutations [--model] [NAME …]`.

Each mutation is one line of `router/review` made wrong, in a copy of the tree. Tests that know no chance run against it; where they do not
see it, or with `--model`, the model does with three seeds. One that neither catches surely is a hole, and the exit status says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("router", "tests")
SEEDS = (1, 2, 3)
PYTEST = ("-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider")
UNIT, KILLS = (*PYTEST, "tests/unit/review"), (*PYTEST, "tests/faults/test_reviews.py")
MODEL = (
    "from hypothesis import core; core.global_force_seed = {seed};"
    "from tests.faults.test_reviews_model import played; played({examples}, 30)"
)
EXAMPLES = 60
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    file: str
    was: str
    becomes: str


MUTATIONS = (
    Mutation(
        "the same person counts twice",
        "approving.py",
        "        if not any(each.people & other.people for other in distinct):\n            distinct.append(each)",
        "        distinct.append(each)",
    ),
    Mutation(
        "one person stands for two roles",
        "approving.py",
        "            if at not in placed or _place(placed[at], given, placed, tried):",
        "            if True:",
    ),
    Mutation("an approval of another content counts", "approving.py", "each is not None and each.covers == wanted", "each is not None"),
    Mutation("one approval is enough", "approving.py", "len(distinct) >= terms.quorum(held)", "len(distinct) >= 1"),
    Mutation(
        "who asked may approve by delegation",
        "attempts.py",
        "return bool(self.reviewer.people & self.asker)",
        "return self.reviewer.key_id in self.asker",
    ),
    Mutation("anybody's role will do", "attempts.py", "    if roles and not set(roles) & set(attempt.reviewer.roles):", "    if False:"),
    Mutation(
        "who acts for one who approved approves again",
        "attempts.py",
        "any(attempt.reviewer.people & each.people for each in attempt.given)",
        "any(attempt.reviewer.key_id == each.key_id for each in attempt.given)",
    ),
    Mutation(
        "another one's claim keeps nobody out", "attempts.py", "attempt.kind is Kind.RELEASE or not over", "attempt.kind is Kind.RELEASE"
    ),
    Mutation("a claim that is over keeps others out", "attempts.py", "attempt.kind is Kind.RELEASE or not over", "True"),
    Mutation("what is late can be approved", "attempts.py", "    _in_time(attempt)\n", ""),
    Mutation(
        "an approval names any content",
        "attempts.py",
        "attempt.digest is not None and attempt.digest != terms.covers(attempt.review.held)",
        "False",
    ),
    Mutation("the version is not compared", "attempting.py", "asked.version is not None and asked.version != review.version", "False"),
    Mutation("a repeat with other words is the same", "attempting.py", '.get("asked") == asked.fingerprint', '.get("asked") is not None'),
    Mutation(
        "a repeat is a step of its own",
        "attempting.py",
        "            if await self._repeated(review, reviewer, asked):",
        "            if False:",
    ),
    Mutation("before an approval nobody judges again", "attempting.py", "if again is not None and not again.same:", "if False:"),
    Mutation("what policy denies may be what it becomes", "attempting.py", "        if again.settled().denied:", "        if False:"),
    Mutation("refused attempts are not recorded", "attempting.py", "if error.code not in UNRECORDED:", "if False:"),
    Mutation(
        "a level's end comes before the hard end",
        "deadlines.py",
        "    if now_ns >= held.expires_ns:\n",
        "    if now_ns >= held.expires_ns and now_ns < _escalates(held, history):\n",
    ),
    Mutation(
        "a question waits for ever",
        "deadlines.py",
        "review.state == State.MORE_INFORMATION and now_ns >= _responds(held, history)",
        "False",
    ),
    Mutation(
        "a claim lasts for ever",
        "deadlines.py",
        "    return Event.LAPSED if review.state == State.ASSIGNED and",
        "    return Event.LAPSED if False and",
    ),
    Mutation(
        "a level's time begins with the request",
        "deadlines.py",
        "LEVEL_BEGINS = (Event.HELD, Event.ESCALATED, Event.SUPERSEDED)",
        "LEVEL_BEGINS = (Event.HELD,)",
    ),
    Mutation(
        "what is of high risk goes when nobody decided", "terms.py", 'and held.risk == "low" and level(held) == 0', "and level(held) == 0"
    ),
    Mutation(
        "what was escalated goes when nobody decided", "terms.py", 'and held.risk == "low" and level(held) == 0', 'and held.risk == "low"'
    ),
    Mutation(
        "an approval leaves the terms out",
        "terms.py",
        "    if JUDGED not in held.summary:\n        return held.content_digest\n",
        "    return held.content_digest\n",
    ),
    Mutation(
        "the digest is not looked at before it is sent",
        "dispatching.py",
        "if content_digest(content.outbound) != held.content_digest:",
        "if False:",
    ),
    Mutation(
        "the approvals are not looked at before it is sent",
        "dispatching.py",
        "if not self._expired_so(review) and not enough(held, await approvals(review, self._people)):",
        "if False:",
    ),
    Mutation(
        "before it is sent nobody judges again",
        "dispatching.py",
        "        if again is None or again.same:\n            return False\n",
        "        return False\n",
    ),
    Mutation(
        "it is sent before the approval is recorded",
        "dispatching.py",
        "        await self._recording.of(decision_id)  # 2: without it nothing is sent\n",
        "",
    ),
    Mutation("after a crash it is sent again anywhere", "dispatching.py", "if crashed and not _repeatable(review, ready):", "if False:"),
    Mutation(
        "who was overtaken sends all the same",
        "dispatching.py",
        "if sent is not None and sent.version == review.version + 1:",
        "if sent is not None:",
    ),
)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[Path]:
    """A copy of the tree with this one fault; what is not copied is the tree's own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for each in ROOT.iterdir():
            if each.name not in (*COPIED, ".git"):
                (folder / each.name).symlink_to(each)
        file = folder / "router/review" / mutation.file
        text = file.read_text()
        if text.count(mutation.was) != 1:
            raise SystemExit(f"'{mutation.name}' is no mutation any more: its line is not there once in {mutation.file}")
        file.write_text(text.replace(mutation.was, mutation.becomes))
        yield folder


def fails(folder: Path, *arguments: str) -> bool:
    try:
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:  # one that waits for ever is seen
        return True
    if "No module named" in done.stderr or "ImportError" in done.stdout:
        raise SystemExit(done.stderr or done.stdout)
    return done.returncode != 0


def caught(mutation: Mutation, *, model: bool) -> tuple[bool, int | None]:
    """(by the tests that know no chance, by the model with how many of the seeds: asked where those do not see it, or it is wanted)"""
    with mutated(mutation) as folder:
        unit = fails(folder, *UNIT) or fails(folder, *KILLS)
        if unit and not model:
            return unit, None
        return unit, sum(fails(folder, "-c", MODEL.format(seed=seed, examples=EXAMPLES)) for seed in SEEDS)


def main(*wanted: str) -> int:
    names = [each for each in wanted if each != "--model"]
    holes = 0
    print(f"{'fault':58} unit  model")
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        unit, model = caught(mutation, model="--model" in wanted)
        surely = unit or model == len(SEEDS)
        holes += not surely
        seen = "-" if model is None else f"{model}/{len(SEEDS)}"
        print(f"{mutation.name:58} {'yes' if unit else 'no':5} {seen}{'' if surely else '   NOT CAUGHT'}", flush=True)
    return min(holes, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
