from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.audit.tree.checkpoint import note_checkpoint, split_note
from router.audit.witnesses.desk import WitnessDesk
from router.audit.witnesses.policy import WitnessPolicy
from router.audit.witnesses.protocol import SIZE_TYPE, parse_request
from router.audit.witnesses.showing import FIRST_BACKOFF_S, MOST_BACKOFF_S, Reply, Witnessing, cosigned_note
from router.errors import AuditError
from tests.unit.audit.witnesses import START_S, Calls, Clock, Log, View, Witness, cosigner, policy_of

LOG, FORK = Log(), Log("other")


def _signature_like(text: str) -> bytes:
    return f"— w1.example {text}\n".encode("utf-8", "surrogatepass")


@dataclass
class Ledger:
    """A log with its witnesses, and what it kept."""

    answering: dict[str, Callable[[bytes], Reply] | WitnessDesk]
    policy: WitnessPolicy
    view: View = field(default_factory=View)
    clock: Clock = field(default_factory=Clock)
    kept: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = Calls(self.answering)
        self.witnessing = Witnessing(self.policy, self.view, self.calls, LOG.signer, self.clock, self._keep)

    async def _keep(self, note: str, witnessed: bool) -> None:
        self.kept.append((note, witnessed))
        if note_checkpoint(note).size == self.view.size:
            self.view.note = note

    def olds(self) -> list[int]:
        return [parse_request(body).old for _, body in self.calls.asked]


def alone(answering: Callable[[bytes], Reply] | WitnessDesk, size: int = 5, log: Log = LOG) -> Ledger:
    return Ledger({"w1": answering}, policy_of("all", 1), View(log, size))


async def test_a_witness_that_knows_nothing_is_told_from_the_beginning() -> None:
    """Asked with our own size it says that it knows none, and is asked again from there, once."""
    ledger = alone(Witness().desk)
    asked = await ledger.witnessing.agree()
    assert set(asked.cosignatures) == {"w1"}
    assert ledger.olds() == [5, 0]


async def test_a_witness_that_knows_less_is_given_the_proof() -> None:
    """It told its size; the proof from there convinces it."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 3))
    ledger = alone(witness.desk)
    await ledger.witnessing.agree()
    assert ledger.olds() == [5, 3]
    assert ledger.witnessing.witnessed is not None
    assert ledger.witnessing.witnessed[0] == 5


async def test_an_old_copy_of_the_ledger_is_found_at_the_start() -> None:
    """The witness saw more than was ever signed here."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 8))
    with pytest.raises(
        AuditError,
        match=r"w1 contradicts this ledger \(audit_rolled_back\): It saw .* 8 records, but the newest that was signed here is of 5",
    ) as caught:
        await alone(witness.desk).witnessing.agree()
    assert caught.value.code == "audit_rolled_back"


async def test_a_checkpoint_that_another_process_overtook_is_no_contradiction() -> None:
    """Two processes write one ledger; the other stored a newer checkpoint and showed it while this one asked: it asks again with that."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    ledger = alone(witness.desk, 5)

    def overtaking(body: bytes) -> Reply:
        if ledger.view.size == 5:
            ledger.view.grow(8)
            witness.desk.add_checkpoint(LOG.request(5, 8))
        answer = witness.desk.add_checkpoint(body)
        return Reply(answer.status, answer.content_type, answer.body.encode())

    ledger.calls.answering["w1"] = overtaking
    asked = await ledger.witnessing.agree()
    assert (asked.checkpoint.size, asked.now) == (8, frozenset({"w1"}))
    assert dict(ledger.witnessing.failures) == {("w1", "witness_overtaken"): 1}


async def test_who_knows_more_than_was_ever_stored_contradicts_however_fast_the_ledger_grows() -> None:
    """A newer checkpoint here does not excuse one that is not here."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 13))
    ledger = alone(witness.desk, 5)

    def growing(body: bytes) -> Reply:
        if ledger.view.size == 5:
            ledger.view.grow(8)
        answer = witness.desk.add_checkpoint(body)
        return Reply(answer.status, answer.content_type, answer.body.encode())

    ledger.calls.answering["w1"] = growing
    with pytest.raises(AuditError, match="It saw a checkpoint of 13 records, but the newest that was signed here is of 8"):
        await ledger.witnessing.agree()


async def test_a_ledger_that_begins_anew_under_its_old_name_is_found() -> None:
    """Nothing is there, but a witness remembers."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 8))
    with pytest.raises(AuditError) as caught:
        await alone(witness.desk, 0).witnessing.agree()
    assert caught.value.code == "audit_rolled_back"


@pytest.mark.parametrize("size", [5, 8])
async def test_another_history_under_the_same_key_is_found(size: int) -> None:
    """Of the same length or longer: the witness's tree is not in it."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    with pytest.raises(AuditError, match="It saw another history of the first 5 records") as caught:
        await alone(witness.desk, size, FORK).witnessing.agree()
    assert caught.value.code == "audit_forked"


async def test_old_cosignatures_do_not_count_for_a_start() -> None:
    """A copy of a ledger brings its cosignatures along; whether a witness still stands by them only it can say."""
    ledger = alone(Witness().desk)
    await ledger.witnessing._round()
    again = Ledger({"w1": raises("witness_unreachable")}, ledger.policy, ledger.view, ledger.clock)
    asked = await again.witnessing.agree()
    assert set(asked.cosignatures) == {"w1"}
    assert asked.now == frozenset()


async def test_what_is_wrong_with_the_ledger_itself_ends_the_start() -> None:
    """It is not put down to the witness who was to be told."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 3))
    ledger = alone(witness.desk)
    ledger.view.failing = AuditError("The tree is broken.", "audit_tree_broken")
    with pytest.raises(AuditError, match="The tree is broken"):
        await ledger.witnessing.agree()


async def test_a_witness_that_forgot_is_noticed() -> None:
    """It cosigned five records and knows three: counted once, said in the log, and asked on from there."""
    ledger = alone(Witness().desk)
    await ledger.witnessing._round()
    old = Witness()
    old.desk.add_checkpoint(LOG.request(0, 3))
    ledger.calls.answering["w1"] = old.desk
    ledger.view.grow(8)
    await ledger.witnessing._round()
    await ledger.witnessing._round()
    assert dict(ledger.witnessing.failures) == {("w1", "witness_forgot"): 1}
    assert note_checkpoint(ledger.kept[-1][0]).size == 8


async def test_a_witness_that_forgot_before_the_start_is_noticed() -> None:
    """By what it cosigned of the last checkpoint that was witnessed."""
    ledger = alone(Witness().desk)
    await ledger.witnessing._round()
    again = Ledger({"w1": Witness().desk}, ledger.policy, View(LOG, 8), ledger.clock)
    again.witnessing.remembered(ledger.kept[-1][0])
    await again.witnessing.agree()
    assert dict(again.witnessing.failures) == {("w1", "witness_forgot"): 1}


async def test_a_new_ledger_is_cosigned_at_nothing() -> None:
    """A tree of no records is confirmed, and not stored as a checkpoint."""
    ledger = alone(Witness().desk, 0)
    asked = await ledger.witnessing.agree()
    await ledger.witnessing.keep_asked(asked)
    assert set(asked.cosignatures) == {"w1"}
    assert ledger.kept == []


LINE = cosigner().cosign(split_note(LOG.note(5))[0], START_S)
OTHER = cosigner(2).cosign(split_note(LOG.note(5))[0], START_S)


def says(status: int, body: str | bytes = "", content_type: str = "text/plain") -> Callable[[bytes], Reply]:
    return lambda _: Reply(status, content_type, body.encode() if isinstance(body, str) else body)


def raises(code: str) -> Callable[[bytes], Reply]:
    def answering(_: bytes) -> Reply:
        raise AuditError("It did not.", code)

    return answering


@pytest.mark.parametrize(
    ("answering", "reason"),
    [
        (says(400), "witness_refused"),
        (says(403), "witness_key_refused"),
        (says(404), "witness_log_refused"),
        (says(429), "witness_busy"),
        (says(500), "witness_failed"),
        (says(503, LINE), "witness_failed"),
        (says(204), "witness_answer_malformed"),
        (says(301), "witness_answer_malformed"),
        (says(200), "witness_answer_malformed"),
        (says(200, b"\xff\xfe\n"), "witness_answer_malformed"),
        (says(200, "<html>\n"), "witness_answer_malformed"),
        (says(200, LINE[:-1]), "witness_answer_malformed"),
        (says(200, LINE + "\n"), "witness_answer_malformed"),
        (says(200, LINE * 65), "witness_answer_malformed"),
        (says(200, OTHER), "witness_cosignature_missing"),
        (says(200, LINE.replace(LINE[-20:-10], "A" * 10)), "witness_cosignature_wrong"),
        (says(200, cosigner().cosign(split_note(LOG.note(6))[0], START_S)), "witness_cosignature_wrong"),
        (says(200, cosigner().cosign(split_note(LOG.note(5))[0], START_S + 301)), "witness_clock_ahead"),
        (says(409, "3\n", SIZE_TYPE), "witness_conflict"),
        (says(409, "7\n", SIZE_TYPE), "audit_rolled_back"),
        (says(409, "5\n", SIZE_TYPE), "audit_forked"),
        (says(409, "different roots"), "audit_forked"),
        (says(409, "03\n", SIZE_TYPE), "audit_forked"),
        (says(422), "audit_forked"),
        (raises("witness_late"), "witness_late"),
        (raises("witness_unreachable"), "witness_unreachable"),
        (raises("witness_answer_too_large"), "witness_answer_too_large"),
    ],
)
async def test_whatever_else_a_witness_answers_has_a_name(answering: Callable[[bytes], Reply], reason: str) -> None:
    """One reason each, counted by witness; nothing is kept, and at most two questions were asked."""
    ledger = alone(answering)
    await ledger.witnessing._round()
    assert dict(ledger.witnessing.failures) == {("w1", reason): 1}
    assert ledger.kept == []
    assert ledger.witnessing.witnessed is None
    assert len(ledger.calls.asked) <= 2


async def test_a_witness_to_whom_others_show_theirs_meanwhile_is_asked_on() -> None:
    """Each time it knows a newer one than it said, until this one's turn comes."""
    told = iter([says(409, "1\n", SIZE_TYPE), says(409, "2\n", SIZE_TYPE), says(409, "4\n", SIZE_TYPE), says(200, LINE)])
    ledger = alone(lambda body: next(told)(body))
    await ledger.witnessing._round()
    assert ledger.kept == [(LOG.note(5) + LINE, True)]
    assert dict(ledger.witnessing.failures) == {}


async def test_one_that_is_of_another_mind_each_time_is_given_up() -> None:
    """After five questions, and it is no other history."""
    told = iter(says(409, f"{size}\n", SIZE_TYPE) for size in (1, 2, 1, 2, 1, 2))
    ledger = alone(lambda body: next(told)(body))
    await ledger.witnessing._round()
    assert (dict(ledger.witnessing.failures)["w1", "witness_conflict"], len(ledger.calls.asked)) == (1, 5)


async def test_others_lines_in_an_answer_are_passed_over() -> None:
    """Two cosignatures come; the one by the known key is kept."""
    ledger = alone(says(200, OTHER + LINE))
    await ledger.witnessing._round()
    assert ledger.kept == [(LOG.note(5) + LINE, True)]


async def test_a_witness_that_fails_leaves_the_others_cosignatures() -> None:
    """What came is kept, though it is no quorum yet; the next round asks only who is missing, and completes it."""
    ledger = Ledger({"w1": Witness(1).desk, "w2": says(500)}, policy_of("all", 1, 2), View(LOG, 5))
    await ledger.witnessing._round()
    assert [met for _, met in ledger.kept] == [False]
    assert ledger.witnessing.witnessed is None
    ledger.calls.answering["w2"] = Witness(2).desk
    ledger.clock.seconds += int(FIRST_BACKOFF_S) + 1
    before = len(ledger.calls.asked)
    await ledger.witnessing._round()
    assert {host for host, _ in ledger.calls.asked[before:]} == {"w2"}
    assert ledger.kept[-1][1]
    assert ledger.policy.witnessed(ledger.policy.cosignatures(ledger.kept[-1][0])) is not None


async def test_one_of_two_is_a_quorum_where_the_policy_says_so() -> None:
    """And is asked about the second one all the same."""
    ledger = Ledger({"w1": Witness(1).desk, "w2": says(500)}, policy_of("any", 1, 2), View(LOG, 5))
    await ledger.witnessing._round()
    assert [met for _, met in ledger.kept] == [True]
    assert {host for host, _ in ledger.calls.asked} == {"w1", "w2"}


async def test_a_witness_that_fails_is_asked_ever_more_seldom() -> None:
    """Twice the time after each failure, up to a bound."""
    ledger = alone(says(500))
    times = []
    for _ in range(4000):
        before = len(ledger.calls.asked)
        await ledger.witnessing._round()
        if len(ledger.calls.asked) > before:
            times.append(ledger.clock.seconds)
        ledger.clock.seconds += 1
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (FIRST_BACKOFF_S, MOST_BACKOFF_S)


async def test_only_the_newest_checkpoint_is_shown() -> None:
    """Those in between were signed while nobody was asked; the known size spares the first question."""
    ledger = alone(Witness().desk, 3)
    await ledger.witnessing._round()
    for size in (5, 8, 13):
        ledger.view.grow(size)
    await ledger.witnessing._round()
    assert ledger.olds() == [3, 0, 3]
    assert [note_checkpoint(note).size for note, _ in ledger.kept] == [3, 13]


async def test_a_cosignature_is_renewed_when_it_is_old() -> None:
    """The same checkpoint again, for a newer time in the place of the old one; not before."""
    witness = Witness()
    ledger = alone(witness.desk)
    ledger.clock = ledger.witnessing.clock = witness.clock
    await ledger.witnessing._round()
    witness.clock.seconds += 3599
    await ledger.witnessing._round()
    assert len(ledger.kept) == 1
    witness.clock.seconds += 1
    await ledger.witnessing._round()
    text, lines = split_note(ledger.kept[-1][0])
    assert text == split_note(LOG.note(5))[0]
    assert [name for name, _ in lines] == ["ledger.example", "w1.example"]
    assert ledger.witnessing.witnessed is not None
    assert ledger.witnessing.witnessed[1].as_of == START_S + 3600


async def test_what_was_kept_is_not_asked_for_again() -> None:
    """After a restart the stored note has its cosignatures."""
    ledger = alone(Witness().desk)
    await ledger.witnessing._round()
    again = Ledger({"w1": says(500)}, ledger.policy, ledger.view, ledger.clock)
    await again.witnessing._round()
    assert again.calls.asked == []
    assert again.witnessing.witnessed == ledger.witnessing.witnessed


async def test_cosignatures_take_their_own_old_place_only() -> None:
    """Lines by the log and by witnesses that the policy does not name stay."""
    policy = policy_of("all", 1)
    stranger = LOG.note(5) + OTHER + LINE
    newer = cosigner().cosign(split_note(LOG.note(5))[0], START_S + 60)
    note = cosigned_note(stranger, policy, policy.cosignatures(LOG.note(5) + newer))
    assert note == LOG.note(5) + OTHER + newer


async def test_before_the_first_checkpoint_nobody_is_asked_again() -> None:
    """The tree of nothing was shown at the start; there is nothing newer to show."""
    ledger = alone(Witness().desk, 0)
    await ledger.witnessing._round()
    assert ledger.calls.asked == []


async def test_a_newer_checkpoint_wakes_the_witnessing() -> None:
    """The task goes on by itself, whatever fails, and ends when it is cancelled."""
    ledger = alone(Witness().desk, 3)
    failing = [AuditError("the disk", "audit_io_failed"), ValueError("whatever")]
    keep = ledger.witnessing.keep

    async def unreliable(note: str, met: bool) -> None:
        if failing:
            raise failing.pop()
        await keep(note, met)

    ledger.witnessing.keep = unreliable
    task = asyncio.create_task(ledger.witnessing.run())
    try:
        async with asyncio.timeout(30):
            while not ledger.kept:
                ledger.witnessing.wake()
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert note_checkpoint(ledger.kept[0][0]).size == 3


@given(
    st.sampled_from([200, 200, 204, 301, 400, 403, 404, 409, 409, 418, 422, 429, 500, 503]),
    st.sampled_from([SIZE_TYPE, "text/plain", "", "text/x.tlog.size; charset=utf-8", "\xff"]),
    st.binary(max_size=200) | st.integers(-1, 2**70).map(lambda size: f"{size}\n".encode()) | st.text(max_size=80).map(_signature_like),
)
@settings(deadline=None)
def test_no_answer_does_anything_else_than_fail_with_a_name(status: int, content_type: str, body: bytes) -> None:
    """Whatever comes: one reason, nothing kept, and no other exception."""
    ledger = alone(lambda _: Reply(status, content_type, body))
    asyncio.run(ledger.witnessing._round())
    assert list(ledger.witnessing.failures.values()) == [1]
    assert {name for name, _ in ledger.witnessing.failures} == {"w1"}
    assert ledger.kept == []
