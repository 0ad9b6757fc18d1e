from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.audit.witnesses.cosignature import CosignatureVerifier, Cosigner
from router.audit.witnesses.policy import WitnessPolicy, parse_policy, verifying_policy
from router.errors import AuditError, ConfigError

COSIGNERS = [Cosigner(f"w{number}.example", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in range(1, 5)]
A, B, C, D = (cosigner.verifier for cosigner in COSIGNERS)
LOG = NoteSigner("ledger.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER_LOG = NoteSigner("other.example", Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)).verifier
NOTE = LOG.sign(Checkpoint("ledger.example", 7, bytes(32)).text())
TEXT = NOTE.partition("\n\n")[0] + "\n"
PAIR = f"log {LOG.verifier}\nwitness a {A} https://a.example\nwitness b {B}\ngroup both all a b\nquorum both\n"


def policy(text: str) -> WitnessPolicy:
    return parse_policy(text.encode(), "p")


def faults(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text if isinstance(text, bytes) else text.encode(), "p")
    return caught.value.faults


def test_spaces_tabs_comments_and_empty_lines_mean_nothing() -> None:
    """Leading, trailing and repeated white space, and lines that say nothing."""
    written = f"# ours\n\n \t witness \t a  {A} \t\n\t# theirs\nquorum a\n"
    assert policy(written).met({"a"})


def test_names_are_bytes() -> None:
    """A name that is no UTF-8 is a name, and another one than what it looks like."""
    found = parse_policy(f"witness K {A}\n".encode() + b"witness \xff " + f"{B}\nquorum K\n".encode(), "p")
    assert found.met({"K"})
    assert not found.met({"\N{KELVIN SIGN}"})


def test_a_quorum_of_nobody_is_met_by_nobody() -> None:
    """`quorum none` is read, is called what it is, and never says that anything is witnessed."""
    found = policy(f"witness a {A}\nquorum none\n")
    assert found.asks_for_nobody
    assert not found.met({"a"})


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "no quorum line"),
        (f"witness a {A}\n", 2, "no quorum line"),
        (f"witness a {A}\nquorum a", 2, "does not end"),
        (f"# a\x01\nwitness a {A}\nquorum a\n", 1, "control character"),
        (f"witnes a {A}\nquorum none\n", 1, "'witnes' is none of"),
        (f"witness a {A} u v\nquorum none\n", 1, "A witness is written"),
        (f"witness a {A[:-2]}\nquorum none\n", 1, "Witness 'a'"),
        (f"witness a {LOG.verifier}\nquorum none\n", 1, "type 4"),
        (f"log {A}\nquorum none\n", 1, "type 1"),
        (f"log {LOG.verifier}\nlog {LOG.verifier}\nquorum none\n", 2, "earlier line"),
        (f"witness a {A}\nwitness a {B}\nquorum a\n", 2, "already"),
        (f"witness a {A}\nwitness b {A}\nquorum a\n", 2, "must not count twice"),
        (f"witness none {A}\nquorum none\n", 1, "no name for anything else"),
        (f"witness a {A}\ngroup g any\nquorum a\n", 2, "at least one member"),
        (f"witness a {A}\ngroup g 2 a\nquorum a\n", 2, "from 1 to 1"),
        (f"witness a {A}\ngroup g 0 a\nquorum a\n", 2, "from 1 to 1"),
        (f"witness a {A}\ngroup g 01 a\nquorum a\n", 2, "from 1 to 1"),
        (f"witness a {A}\ngroup g any a a\nquorum a\n", 2, "a member already"),
        (f"witness a {A}\ngroup g any a\ngroup h any a\nquorum h\n", 3, "a member already"),
        (f"witness a {A}\ngroup g any g\nquorum a\n", 2, "no witness or group 'g'"),
        (f"witness a {A}\ngroup g any none\nquorum a\n", 2, "no witness or group 'none'"),
        (f"quorum a\nwitness a {A}\n", 1, "no earlier line"),
        (f"witness a {A}\nquorum a\nquorum a\n", 3, "a quorum line already"),
        (f"witness a {A}\nquorum a # all\n", 2, "The quorum is written"),
    ],
)
def test_what_is_not_specified_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    """One sentence for one mistake, naming file and line."""
    (fault,) = faults(text)
    assert fault.startswith(f"p:{line}: ")
    assert says in fault


def test_every_mistake_is_told_at_once() -> None:
    """Three wrong lines, three sentences."""
    assert len(faults(f"witness a {A}\nwitness a {B}\ngroup g 7 a\nquorum x\n")) == 3


@given(st.binary(max_size=300))
def test_whatever_is_read_gives_a_policy_or_faults(content: bytes) -> None:
    """No file gives anything else."""
    with suppress(ConfigError):
        assert parse_policy(content, "p").quorum


def cosigned(*times: tuple[int, int]) -> str:
    return NOTE + "".join(COSIGNERS[at].cosign(TEXT, when) for at, when in times)


def test_a_quorum_counts_from_when_its_last_renewed_set_does() -> None:
    """Of three cosignatures two are wanted: the newer of two ages at which two agreed."""
    found = policy(f"witness a {A}\nwitness b {B}\nwitness c {C}\ngroup g 2 a b c\nquorum g\n")
    witnessed = found.witnessed(found.cosignatures(cosigned((0, 100), (1, 300), (2, 200))))
    assert witnessed is not None
    assert (witnessed.as_of, witnessed.names) == (200, ("a", "b", "c"))


def test_without_a_quorum_nothing_is_witnessed() -> None:
    """One of two that must both have signed, and a third that the policy does not know."""
    found = policy(PAIR)
    assert found.witnessed(found.cosignatures(cosigned((0, 100), (3, 100)))) is None


def test_a_wrong_cosignature_by_a_known_witness_condemns_the_note() -> None:
    """It is not merely passed over."""
    with pytest.raises(AuditError, match=r"cosignature by w1\.example is wrong"):
        policy(PAIR).cosignatures(cosigned((0, 100)).replace("\n7\n", "\n8\n"))


@pytest.mark.parametrize("at", [0, 253_402_300_800, 2**63, 2**64 - 1])
def test_a_time_that_no_cosignature_may_have_is_refused(at: int) -> None:
    """Zero says nothing, and what lies beyond the year 9999 cannot be written as a time."""
    with pytest.raises(AuditError, match="malformed"):
        CosignatureVerifier(A).find(cosigned((0, at)))


def test_the_newest_of_a_witness_lines_counts() -> None:
    """A witness that was asked again has two lines."""
    found = CosignatureVerifier(A).find(cosigned((0, 100), (0, 200), (0, 150)))
    assert found is not None
    assert found.at == 200


def test_which_logs_a_policy_is_about() -> None:
    """Those it names, or any where it names none."""
    other = NoteSigner("other.example", Ed25519PrivateKey.generate()).verifier
    assert policy(PAIR).accepts_log(LOG.verifier)
    assert not policy(PAIR).accepts_log(other)
    assert policy(f"witness a {A}\nquorum a\n").accepts_log(other)


def test_whether_a_quorum_can_be_had_twice() -> None:
    """One of two, or two of four, can; two of two or of three cannot, nor can one witness."""
    one = f"witness a {A}\nwitness b {B}\nwitness c {C}\nwitness d {D}\n"
    assert policy(f"{one}group g any a b\nquorum g\n").splits
    assert policy(f"{one}group g 2 a b c d\nquorum g\n").splits
    assert not policy(f"{one}group g all a b\nquorum g\n").splits
    assert not policy(f"{one}group g 2 a b c\nquorum g\n").splits
    assert not policy(f"{one}quorum a\n").splits
    assert not policy(f"{one}quorum none\n").splits


@st.composite
def trees(draw: st.DrawFn) -> str:
    """A policy over the four witnesses, with groups of groups."""
    lines = [f"witness {name} {key}" for name, key in zip("abcd", (A, B, C, D), strict=True)]
    free = list("abcd")
    for number in range(draw(st.integers(1, 3))):
        members = [free.pop() for _ in range(draw(st.integers(1, len(free))))]
        lines.append(f"group g{number} {draw(st.integers(1, len(members)))} {' '.join(members)}")
        free = draw(st.permutations([*free, f"g{number}"]))
    return "".join(f"{line}\n" for line in [*lines, f"quorum {free[0]}"])


@given(trees())
def test_a_quorum_can_be_had_twice_exactly_if_two_sets_are_found(text: str) -> None:
    """Held against trying all ways to part the witnesses."""
    found = policy(text)
    parts = [{name for at, name in enumerate("abcd") if number >> at & 1} for number in range(16)]
    assert found.splits == any(found.met(part) and found.met(set("abcd") - part) for part in parts)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"witness a {A}\nquorum none\n", "witness_policy_empty"),
        (f"log {OTHER_LOG}\nwitness b {B}\nquorum b\n", "witness_policy_other_log"),
    ],
)
def test_a_policy_that_says_nothing_here_proves_nothing(tmp_path: Path, text: str, code: str) -> None:
    """What is held against it is not called witnessed."""
    (tmp_path / "policy").write_text(text)
    with pytest.raises(AuditError) as refused:
        verifying_policy(tmp_path / "policy", LOG.verifier)
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["", "a b", "a+b"])
def test_a_name_that_no_note_can_have_signs_nothing(name: str) -> None:
    """Neither a ledger's nor a witness's."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    codes = list[str]()
    for make in (NoteSigner, Cosigner):
        with pytest.raises(AuditError) as refused:
            make(name, key)
        codes.append(refused.value.code)
    assert codes == ["audit_origin_invalid", "witness_name_invalid"]
