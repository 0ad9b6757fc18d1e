"""What to do about a catalog, one plain sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from embeddings.report import Alike, AtRisk, IntentFigures, Overlap, Suggestion, Suspect

STATED = 0.01  # the risk that the advice is about
FEW = 10  # examples under which an intent is said to have few
NAMED = 10


def suggestions(
    figures: Sequence[IntentFigures],
    coverage: Sequence[AtRisk],
    held_out: int,
    suspects: Sequence[Suspect],
    alike: Sequence[Alike],
    overlaps: Sequence[Overlap],
) -> tuple[Suggestion, ...]:
    stated = next(each for each in coverage if each.max_error == STATED)
    return (
        *_unproved(stated, held_out, len(figures)),
        *_few(
            sorted((each for each in figures if each.examples < FEW), key=lambda each: (each.examples, each.intent)), stated, len(figures)
        ),
        *(_apart(each) for each in overlaps),
        *(_relabel(each) for each in suspects),
        *(_same(each) for each in alike),
    )


def _unproved(stated: AtRisk, held_out: int, intents: int) -> tuple[Suggestion, ...]:
    if stated.confidence is not None:
        return ()
    if stated.needed is None:
        what = "and more examples like these would not help: the most confident answers are wrong too often. Mend the confusions first"
    else:
        each, now = -(-stated.needed // intents), held_out / intents
        what = (
            f"with {now:.0f} held-out examples an intent; of this quality about {each} an intent, {stated.needed:,} in all, would be needed"
        )
    return (Suggestion("unproved_risk", (), f"At a risk of {stated.max_error:.0%} nothing can be accepted yet, {what}."),)


def _few(poor: Sequence[IntentFigures], stated: AtRisk, intents: int) -> tuple[Suggestion, ...]:
    if not poor:
        return ()
    proof = -(-stated.needed // intents) if stated.confidence is None and stated.needed is not None else 0
    named = ", ".join(f"{each.intent} ({each.examples})" for each in poor[:NAMED])
    more = f" and {len(poor) - NAMED} more" if len(poor) > NAMED else ""
    what = f"fewer than {FEW} examples: {named}{more}. Give each {max(FEW, proof)} or more, in the words that people use."
    begun = "1 intent has" if len(poor) == 1 else f"{len(poor)} intents have"
    return (Suggestion("few_examples", tuple(each.intent for each in poor), f"{begun} {what}"),)


def _apart(overlap: Overlap) -> Suggestion:
    sentence = (
        f"{overlap.first} and {overlap.second} overlap: of their {overlap.of} examples {overlap.confused} were taken for the other one and "
        f"{overlap.crossed} lie nearest to it. Merge them, or rewrite the examples so that each says what sets it apart."
    )
    return Suggestion("overlapping_intents", (overlap.first, overlap.second), sentence)


def _relabel(suspect: Suspect) -> Suggestion:
    sentence = f"“{suspect.text}” stands under {suspect.intent} and looks like {suspect.looks_like} ({suspect.confidence:.0%}); move it?"
    return Suggestion("mislabelled_example", (suspect.intent, suspect.looks_like), sentence)


def _same(alike: Alike) -> Suggestion:
    sentence = f"“{alike.text}” ({alike.intent}) and “{alike.other_text}” ({alike.other_intent}) say the same: keep one of them."
    return Suggestion("alike_examples", (alike.intent, alike.other_intent), sentence)
