"""Texts whose label is known, mixed in among the samples."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from router.adaptation.labelling import DONE, KIND, SEEDED
from router.adaptation.seeding import KnownAnswers
from router.config.learning import SamplingConfig, SeededConfig
from router.decision import Subject
from router.errors import AuditError, RefusedError, StateError
from router.ports import Lesson
from router.wiring.sampling import Sampler
from tests.unit.adaptation.labelling_parts import Labelling
from tests.unit.adaptation.parts import DECISION, RITA, RUBEN, Learning, leaf
from tests.unit.adaptation.test_sampler import Ledger

LEAD = Subject("lena", "user", ("review_lead",))
NADA = Subject("nada", "user", ("reviewer",))
HALF = SamplingConfig(random=1.0, a_day=1000, overlap=0.0, seeded=SeededConfig(share=0.5))


class Seeding:
    """A ledger that is sampled whole, and beside each sample a seeded one as long as something is known."""

    def __init__(self, learning: Learning) -> None:
        self.learning, self.ledger, self.settings, self.labelling = learning, Ledger(), HALF, Labelling(learning)
        self.known = KnownAnswers(learning.keeping, learning.trail, learning.keys, learning.clock, lambda: learning.intents)
        self.sampler = Sampler(learning.keeping, self.ledger, learning.keys, learning.clock, lambda: self.settings, self.known)
        self.decided(DECISION)

    def decided(self, decision_id: str, tenant: str | None = None, text: bool = True) -> None:
        found = {**leaf(), "subject": {"tenant": tenant}, "commitments": {"text": "…"} if text else {}}
        self.learning.trail.decisions[decision_id] = ("anna", found)

    async def more(self, number: int = 1, tenant: str | None = None) -> None:
        for _ in range(number):
            self.ledger.add(tenant=tenant)
            self.learning.trail.decisions[f"decision {len(self.ledger.found) - 1}"] = ("zoe", leaf("pay"))
        await self.sampler.round()

    async def tasks(self, kind: str = SEEDED) -> list[Lesson]:
        return [each for _, each in await self.learning.store.page(kind, [], 0, 1000)]

    async def labelled(self, *said: tuple[Subject, str], task_id: str = "t" * 32) -> None:
        """A sample about DECISION that these people labelled so."""
        await self.labelling.sampled(wanted=len(said), task_id=task_id)
        for who, label in said:
            assert await self.labelling.claimed(who) == task_id
            await self.labelling.service.answer(task_id, label, who, None)

    async def every(self, who: Subject, label: str = "cancel") -> list[tuple[Lesson, str]]:
        """Labels whatever this person gets, and (task, label)."""
        done = list[tuple[Lesson, str]]()
        while (claimed := await self.labelling.service.claim(who, None)) is not None:
            done.append((await self.labelling.service.answer(claimed[0].id, label, who, None), label))
        return done


@pytest.fixture
async def seeding(learning: Learning) -> Seeding:
    made = Seeding(learning)
    await made.sampler.round()
    return made


async def test_what_people_agreed_on_is_given_to_another(seeding: Seeding) -> None:
    """Once: neither to those who said so, nor a second time to the same one, whatever else is drawn."""
    await seeding.labelled((RITA, "cancel"), (RUBEN, "cancel"))
    await seeding.more(3)
    (seed,) = await seeding.tasks()
    assert (seed.about, seed.terms["known"]) == (DECISION, "cancel")
    for who in (RITA, RUBEN):
        assert {task.kind for task, _ in await seeding.every(who)} <= {KIND}
    (done,) = [task for task, _ in await seeding.every(NADA) if task.kind == SEEDED]
    assert [each["right"] for each in done.terms["answers"].values()] == [True]
    await seeding.more(3)
    assert len(await seeding.tasks()) == 2
    assert {task.kind for task, _ in await seeding.every(NADA)} <= {KIND}


@pytest.mark.parametrize(
    "said",
    [
        [(RITA, "cancel")],
        [(RITA, "cancel"), (RUBEN, "pay")],
        [(RITA, "unsure"), (RUBEN, "unsure")],
        [(RITA, "cancel"), (RUBEN, "unsure")],
    ],
)
async def test_what_people_do_not_agree_on_is_not_known(seeding: Seeding, said: Any) -> None:
    """Too few, different labels, or no label."""
    await seeding.labelled(*said)
    await seeding.more(3)
    assert await seeding.tasks() == []


async def test_more_people_may_have_to_agree(seeding: Seeding) -> None:
    """Then as many are asked where several are."""
    seeding.settings = SamplingConfig(random=1.0, overlap=1.0, seeded=SeededConfig(share=0.5, agreement=3))
    await seeding.labelled((RITA, "cancel"), (RUBEN, "cancel"))
    await seeding.more()
    assert await seeding.tasks() == []
    assert [each.terms["wanted"] for each in await seeding.tasks(KIND)][-1] == 3


async def test_an_answer_to_a_seeded_one_teaches_nothing(seeding: Seeding) -> None:
    """It is on record by a name of its own, and is neither an opinion nor a label."""
    await seeding.known.name(DECISION, "pay", LEAD, None)
    await seeding.more()
    (seed,) = await seeding.tasks()
    before = await seeding.learning.feedback.opinions(DECISION)
    await seeding.every(NADA, "ask")
    assert await seeding.learning.feedback.opinions(DECISION) == before
    told = [each for each in seeding.learning.leaves if each.get("id") == DECISION]
    assert [(each["event"], each["details"].get("right")) for each in told] == [("label_known", None), ("label_seeded", False)]
    assert "nada" not in str(told)
    assert (await seeding.tasks(SEEDED))[0].state == DONE
    assert (await seeding.tasks(SEEDED))[0].id == seed.id


async def test_it_cannot_be_told_from_others(seeding: Seeding) -> None:
    """By its id, in the list, in what is answered: whoever compares finds the same fields, and both stand among each other."""
    for number in range(20):
        seeding.decided(f"known {number}")
        await seeding.known.name(f"known {number}", "cancel", LEAD, None)
    await seeding.more(20)
    page, _ = await seeding.labelling.service.page(NADA, None, 0, 100)
    seeds = {each.id for each in await seeding.tasks()}
    assert len(seeds) == 20
    assert {each["id"] for each in page} == seeds | {each.id for each in await seeding.tasks(KIND)}
    assert {(len(each["id"]), frozenset(each)) for each in page} == {(32, frozenset({"id", "mine"}))}
    kinds = [each["id"] in seeds for each in page]
    assert kinds not in ([True, False] * 20, [False, True] * 20)
    half, place = await seeding.labelling.service.page(NADA, None, 0, 11)
    rest, _ = await seeding.labelling.service.page(NADA, None, place or 0, 100)
    assert [*half, *rest] == page


async def test_what_people_are_given_as_a_sample_is_not_seeded_besides(seeding: Seeding) -> None:
    """Nor does somebody who had it seeded get it once more as a sample."""
    await seeding.labelling.sampled()
    await seeding.known.name(DECISION, "pay", LEAD, None)
    assert await seeding.known.pool(2) == []
    seed = Lesson(SEEDED, "s" * 32, DECISION, "done", 0, {"answers": {(await seeding.learning.keys.key_for("nada"))[0]: {}}, "skipped": []})
    assert await seeding.learning.store.put(seed, [], "", 0)
    assert await seeding.labelling.claimed(NADA) is None
    assert await seeding.labelling.claimed(RITA) is not None


async def test_unsure_and_an_intent_that_is_gone_are_neither_right_nor_wrong(seeding: Seeding) -> None:
    """Nobody can be blamed for either."""
    await seeding.known.name(DECISION, "pay", LEAD, None)
    await seeding.more()
    seeding.learning.intents.remove("pay")
    (done,) = [task for task, _ in await seeding.every(NADA) if task.kind == SEEDED]
    assert [each["right"] for each in done.terms["answers"].values()] == [None]
    assert await seeding.known.pool(2) == []


async def test_a_lead_names_and_withdraws(seeding: Seeding) -> None:
    """On record; never given to who named it; what is withdrawn is seeded no more, also where people agreed."""
    await seeding.labelled((RITA, "cancel"), (RUBEN, "cancel"))
    assert len(await seeding.known.pool(2)) == 1
    first = await seeding.known.withdraw(DECISION, LEAD, None)
    assert (first["state"], first["label"], await seeding.known.pool(2)) == ("withdrawn", None, [])
    await seeding.known.name(DECISION, "pay", LEAD, None)
    await seeding.known.name(DECISION, "pay", LEAD, None)
    assert [each["details"]["state"] for each in seeding.learning.leaves if each["event"] == "label_known"] == ["withdrawn", "known"]
    assert [each["label"] for each in (await seeding.known.page(None, 0, 10))[0]] == ["pay"]
    await seeding.more()
    assert {task.kind for task, _ in await seeding.every(LEAD)} == {KIND}


async def test_what_cannot_be_known_is_refused(seeding: Seeding) -> None:
    """Each by name."""
    seeding.decided("textless", text=False)
    seeding.decided("theirs", tenant="lund")
    for decision, label, code in ((DECISION, "fly", "feedback_intent_unknown"), (DECISION, "unsure", "feedback_intent_unknown")):
        with pytest.raises(RefusedError) as refused:
            await seeding.known.name(decision, label, LEAD, None)
        assert refused.value.code == code
    with pytest.raises(RefusedError) as refused:
        await seeding.known.name("textless", "pay", LEAD, None)
    assert refused.value.code == "label_no_text"
    for decision, tenant in (("nowhere", None), ("theirs", "halden")):
        with pytest.raises(AuditError) as unknown:
            await seeding.known.name(decision, "pay", LEAD, tenant)
        assert unknown.value.code == "decision_unknown"


async def test_a_round_that_was_cut_off_between_both_is_done_again_to_the_same_end(
    seeding: Seeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped: beside each sample stands one seeded, and none twice, also where something else became known meanwhile."""
    for number in range(3):
        seeding.decided(f"known {number}")
        await seeding.known.name(f"known {number}", "cancel", LEAD, None)
    store, put, left = seeding.learning.store, seeding.learning.store.put, 0

    async def cut_off(lesson: Lesson, *more: Any) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise StateError("gone", "learning_store_unavailable")
        return await put(lesson, *more)

    monkeypatch.setattr(store, "put", cut_off)
    for puts in range(6):
        left = puts
        with pytest.raises(StateError):
            await seeding.more()
    monkeypatch.undo()
    seeding.decided("later")
    await seeding.known.name("later", "pay", LEAD, None)
    await seeding.more()
    seeds, samples = await seeding.tasks(), await seeding.tasks(KIND)
    assert len(samples) == len({each.about for each in samples}) == 7
    assert {each.about for each in seeds} == {"known 0", "known 1", "known 2", "later"}
    assert len(seeds) == 4
    assert await seeding.sampler.counts() == {"sampled": 7, "seeded": 4}


@pytest.mark.parametrize("told", [{"share": 0.51}, {"agreement": 1}, {"agreement": 11}, {"shared": 0.1}])
def test_settings_that_mean_nothing_are_refused(told: dict[str, Any]) -> None:
    """More than half; one who agrees with nobody; a word that there is not."""
    with pytest.raises(ValidationError):
        SeededConfig(**told)


async def test_a_tenants_known_text_goes_to_that_tenant(seeding: Seeding) -> None:
    """And to no other."""
    seeding.decided("theirs", tenant="lund")
    await seeding.known.name("theirs", "pay", LEAD, "lund")
    await seeding.more(5)
    assert await seeding.tasks() == []
    await seeding.more(1, tenant="lund")
    assert [each.terms["tenant"] for each in await seeding.tasks()] == ["lund"]


async def test_the_share_is_of_all_that_people_are_given(seeding: Seeding) -> None:
    """A fifth, give or take; the same again where a round is done once more."""
    seeding.settings = SamplingConfig(random=1.0, a_day=1000, seeded=SeededConfig(share=0.2))
    for number in range(200):
        seeding.decided(f"known {number}")
        await seeding.known.name(f"known {number}", "cancel", LEAD, None)
    await seeding.more(400)
    seeds, samples = await seeding.tasks(), await seeding.tasks(KIND)
    assert 0.13 < len(seeds) / (len(seeds) + len(samples)) < 0.27
    cursor = await seeding.learning.store.get("sampling", "cursor")
    assert cursor is not None
    counts = await seeding.sampler.counts()
    again = Lesson("sampling", "cursor", "", "", 0, {**cursor.terms, "after": -1, "days": {}, "counts": {}}, version=cursor.version)
    assert await seeding.learning.store.put(again, [], "", 0)
    await seeding.sampler.round()
    assert await seeding.tasks() == seeds
    assert await seeding.sampler.counts() == counts
