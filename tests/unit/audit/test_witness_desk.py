from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.audit.witnesses.cosignature import CosignatureVerifier
from router.audit.witnesses.desk import STEPPED_BACK_S, Answer, WitnessDesk
from router.audit.witnesses.protocol import MOST_STEPS, SIZE_TYPE, parse_request, parse_size, request_body
from router.errors import AuditError
from tests.unit.audit.witnesses import START_S, Log, Witness, cosigner

LOG, FORK = Log(), Log("other")
SIZE = (0, 1, 2, 3, 5, 8, 13)


def cosigned_at(answer: Answer, note: str) -> int:
    assert answer.status == 200, answer.body
    found = CosignatureVerifier(cosigner().verifier).find(note + answer.body)
    assert found is not None
    return found.at


def test_a_log_that_grows_is_cosigned_each_time() -> None:
    """From nothing on, with the proof from the last size; the cosignature opens under the note that was brought."""
    desk = Witness().desk
    for old, new in zip((0, *SIZE), SIZE, strict=False):
        assert cosigned_at(desk.add_checkpoint(LOG.request(old, new)), LOG.note(new)) == START_S


def test_the_same_checkpoint_again_is_cosigned_anew() -> None:
    """A log that lost the answer, or wants a fresher one, brings it with its own size as the old one and no proof."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    witness.clock.seconds += 60
    assert cosigned_at(witness.desk.add_checkpoint(LOG.request(5, 5)), LOG.note(5)) == START_S + 60


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (LOG.request(3, 8), 409, "5"),
        (LOG.request(0, 8), 409, "5"),
        (LOG.request(0, 3), 409, "5"),
        (FORK.request(5, 5), 409, "witness_fork"),
        (FORK.request(5, 8), 422, "witness_proof_wrong"),
        (request_body(5, [], LOG.note(8)), 422, "witness_proof_wrong"),
        (request_body(5, [*LOG.proof(5, 8), bytes(32)], LOG.note(8)), 422, "witness_proof_wrong"),
        (request_body(5, LOG.proof(5, 8)[::-1], LOG.note(8)), 422, "witness_proof_wrong"),
        (request_body(5, [bytes(32)], LOG.note(5)), 422, "witness_proof_wrong"),
        (request_body(5, [], LOG.note(3)), 400, "witness_old_size_larger"),
        (Log(name="another.example").request(5, 8), 404, "witness_log_unknown"),
        (Log(seed=7).request(5, 8), 403, "witness_signature_missing"),
        (LOG.request(5, 8).replace(b"\n8\n", b"\n9\n"), 403, "witness_signature_wrong"),
    ],
)
def test_what_does_not_continue_is_refused_as_specified(body: bytes, status: int, code: str) -> None:
    """With the status of the specification and a named reason; and what is remembered stays."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    before = dict(witness.memory.seen)
    answer = witness.desk.add_checkpoint(body)
    assert (answer.status, answer.body.partition(":")[0].strip()) == (status, code)
    assert "—" not in answer.body
    assert witness.memory.seen == before


def test_another_size_is_told_with_its_own_content_type() -> None:
    """A log reads from it where it has to begin."""
    desk = Witness().desk
    desk.add_checkpoint(LOG.request(0, 5))
    answer = desk.add_checkpoint(LOG.request(3, 8))
    assert (answer.content_type, answer.body) == (SIZE_TYPE, "5\n")
    assert parse_size(answer.content_type, answer.body.encode()) == 5


def test_an_empty_tree_has_one_root_only() -> None:
    """A checkpoint of no records with any other root is none."""
    desk = Witness().desk
    wrong = LOG.signer.sign(f"{LOG.name}\n0\n{b64encode(bytes(32)).decode()}\n")
    assert desk.add_checkpoint(request_body(0, [], wrong)).status == 422
    assert desk.add_checkpoint(LOG.request(0, 0)).status == 200


def test_the_first_checkpoint_wants_no_proof() -> None:
    """From a tree of nothing there is none to give."""
    assert Witness().desk.add_checkpoint(request_body(0, [bytes(32)], LOG.note(5))).status == 422


def test_others_signatures_are_passed_over_and_not_remembered() -> None:
    """Cosignatures of other witnesses come along; only the log's own is kept, as evidence."""
    witness = Witness()
    note = LOG.note(5) + cosigner(2).cosign(LOG.note(5).partition("\n\n")[0] + "\n", START_S)
    assert witness.desk.add_checkpoint(request_body(0, [], note)).status == 200
    assert witness.memory.seen[LOG.name].note == LOG.note(5)


def test_a_log_with_two_keys_may_use_either() -> None:
    """While a key is exchanged for another one both are trusted; a third is not."""
    newer = Log(seed=9)
    witness = Witness()
    desk = WitnessDesk(cosigner(), [LOG.signer.verifier, newer.signer.verifier], witness.memory, witness.clock)
    assert desk.add_checkpoint(LOG.request(0, 3)).status == 200
    assert desk.add_checkpoint(newer.request(3, 5)).status == 200
    assert desk.add_checkpoint(Log(seed=8).request(5, 8)).status == 403


def test_nothing_is_cosigned_that_is_not_remembered() -> None:
    """When the state cannot be written the answer is an error without a cosignature, and says nothing about paths."""
    witness = Witness()
    witness.memory.failing = AuditError("/var/lib/witness.state cannot be written", "witness_state_unwritable")
    answer = witness.desk.add_checkpoint(LOG.request(0, 5))
    assert answer.status == 500
    assert "—" not in answer.body
    assert "/var" not in answer.body


def test_a_clock_that_went_back_a_little_says_the_last_time_again() -> None:
    """A later cosignature never claims to be from before an earlier one."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    witness.clock.seconds -= STEPPED_BACK_S
    assert cosigned_at(witness.desk.add_checkpoint(LOG.request(5, 8)), LOG.note(8)) == START_S


def test_a_clock_that_went_back_far_ends_the_cosigning() -> None:
    """Until somebody has looked: a time that nobody may believe is not said."""
    witness = Witness()
    witness.desk.add_checkpoint(LOG.request(0, 5))
    witness.clock.seconds -= STEPPED_BACK_S + 1
    answer = witness.desk.add_checkpoint(LOG.request(5, 8))
    assert answer.status == 503
    assert answer.body.startswith("witness_clock_behind: ")


NOTE = LOG.note(5)
STEP = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        f"old 1\n{NOTE}".encode(),
        f"old  1\n\n{NOTE}".encode(),
        f"old 01\n\n{NOTE}".encode(),
        f"old -1\n\n{NOTE}".encode(),
        f"old +1\n\n{NOTE}".encode(),
        f"old ²\n\n{NOTE}".encode(),
        f"old {2**63}\n\n{NOTE}".encode(),
        f"old {'9' * 5000}\n\n{NOTE}".encode(),
        f"new 1\n\n{NOTE}".encode(),
        f"1\n\n{NOTE}".encode(),
        f"old 1\r\n\n{NOTE}".encode(),
        f"old 1\n{STEP}x\n\n{NOTE}".encode(),
        f"old 1\n{STEP[:-4]}\n\n{NOTE}".encode(),
        f"old 1\n{STEP[:-2]}B=\n\n{NOTE}".encode(),  # base64 with a bit set that means nothing
        f"old 1\n{(STEP + chr(10)) * (MOST_STEPS + 1)}\n{NOTE}".encode(),
        f"old 1\n\n{NOTE[:-1]}".encode(),
        f"old 1\n\n{NOTE}\t".encode(),
        f"old 1\n\n{NOTE.replace(chr(10), chr(13) + chr(10))}".encode(),
        f"old 1\n\n{NOTE}{NOTE.splitlines()[-1] + chr(10)}".encode() * 2,
        f"old 1\n\n{NOTE}{(NOTE.splitlines()[-1] + chr(10)) * 64}".encode(),
    ],
)
def test_a_request_of_another_form_is_malformed(body: bytes) -> None:
    """Whatever the specification does not write is 400, before anybody looks at a signature."""
    with pytest.raises(AuditError) as caught:
        parse_request(body)
    assert caught.value.code == "witness_request_malformed"
    assert Witness().desk.add_checkpoint(body).status == 400


@given(st.binary(max_size=400))
def test_any_bytes_are_answered(body: bytes) -> None:
    """With a refusal, and without a traceback."""
    assert Witness().desk.add_checkpoint(b"old 0\n\n" + body).status in (400, 403, 404)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans(), st.booleans())
def test_whatever_is_brought_in_whatever_order_the_tree_only_grows(a: int, b: int, c: int, d: int, first: bool, second: bool) -> None:
    """Two histories of one log are never both cosigned beyond what they share, which is their first record."""
    witness = Witness()
    cosigned: list[tuple[int, str]] = []
    for old, new, forked in ((a, b, first), (b, c, second), (a, d, first), (c, d, not second)):
        log = FORK if forked else LOG
        if witness.desk.add_checkpoint(log.request(old, new)).status == 200:
            cosigned.append((new, log.word))
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)
    assert len({word for size, word in cosigned if size > 1}) <= 1
