"""Two readings of C2SP `tlog-policy` and `tlog-cosignature` that share no code: Lockgate's own, and that of the verifier for strangers."""

from __future__ import annotations

from itertools import chain, combinations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate_verify.failure import Refusal
from lockgate_verify.note import Checkpoint as OtherCheckpoint
from lockgate_verify.policy import NONE
from lockgate_verify.policy import Policy as OtherPolicy
from lockgate_verify.policy import parse_policy as other_parse
from router.audit.tree.checkpoint import Checkpoint, NoteSigner
from router.audit.witnesses.cosignature import Cosigner
from router.audit.witnesses.policy import WitnessPolicy, parse_policy
from router.errors import AuditError, ConfigError

COSIGNERS = [Cosigner(f"w{number}.example", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in range(1, 5)]
LOG = NoteSigner("ledger.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
NAMES = st.sampled_from(["a", "b", "c", "g", "h", "none"])
KEYS = st.sampled_from([*(cosigner.verifier for cosigner in COSIGNERS[:3]), LOG.verifier, COSIGNERS[0].verifier[:-3], "x+y+z", ""])
SETS = [set(names) for names in chain.from_iterable(combinations("abc", count) for count in range(4))]

LINES = st.one_of(
    st.builds("witness {} {}".format, NAMES, KEYS),
    st.builds("witness {} {} https://w.example".format, NAMES, KEYS),
    st.builds("log {}".format, KEYS),
    st.builds(
        lambda name, many, members: f"group {name} {many} {' '.join(members)}",
        NAMES,
        st.sampled_from(["any", "all", "1", "2", "0", "01", "3", "x", "-1", "99999"]),
        st.lists(NAMES, max_size=3),
    ),
    st.builds("quorum {}".format, NAMES),
    st.sampled_from(["", "  ", "# a comment", "\t#another", "quorum", "group g", "unknown", "quorum a b", "a\x07b", "log \r", "witness ÿ"]),
)
WORKING = [
    "witness a {0}\nquorum a",
    "witness a {0}\nwitness b {1}\ngroup g all a b\nquorum g",
    "witness a {0}\nwitness b {1}\nwitness c {2}\ngroup g any a b\ngroup h 2 g c\nquorum h",
    "witness a {0}\nquorum none",
]


def ours(text: bytes) -> WitnessPolicy | None:
    try:
        return parse_policy(text, "p")
    except ConfigError:
        return None


def theirs(text: bytes) -> OtherPolicy | None:
    try:
        return other_parse(text)
    except Refusal:
        return None


def alike(text: bytes) -> None:
    mine, other = ours(text), theirs(text)
    assert (mine is None) == (other is None), text
    if mine is None or other is None:
        return
    assert mine.asks_for_nobody == (other.quorum == NONE)
    if not mine.asks_for_nobody:
        assert [mine.met(names) for names in SETS] == [other.met(names) for names in SETS]


@given(st.lists(LINES, max_size=7))
@settings(max_examples=300, deadline=None)
def test_both_read_any_lines_alike(lines: list[str]) -> None:
    """What one refuses the other refuses, and what both read is met by the same witnesses."""
    alike("".join(f"{line}\n" for line in lines).encode())


@given(st.sampled_from(WORKING), st.integers(0, 5), LINES, st.sampled_from(["", " ", "\t ", "  "]))
@settings(max_examples=300, deadline=None)
def test_both_read_a_policy_with_a_line_put_in_alike(policy: str, at: int, line: str, space: str) -> None:
    """Near to what is right, where it matters most."""
    lines = policy.format(*(cosigner.verifier for cosigner in COSIGNERS)).split("\n")
    alike("".join(f"{space}{each}{space}\n" for each in [*lines[:at], line, *lines[at:]]).encode())


TIMES = st.sampled_from([0, 1, 1_700_000_000, 253_402_300_799, 253_402_300_800, 2**63 - 1, 2**63])
TEXT = Checkpoint("ledger.example", 7, bytes(32)).text()


@given(
    st.lists(st.tuples(st.integers(0, 3), TIMES), max_size=5),
    st.integers(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_both_find_the_same_cosignatures(signed: list[tuple[int, int]], spoilt: int) -> None:
    """The newest by each witness, or that one is wrong: with times at the edge of what is allowed, and a letter changed somewhere."""
    lines = "".join(COSIGNERS[who].cosign(TEXT, at) for who, at in signed)
    note = LOG.sign(TEXT) + (lines if spoilt > len(lines) or spoilt % 2 else lines[:-spoilt] + "A" + lines[len(lines) - spoilt + 1 :])
    policy = "".join(f"witness {name} {cosigner.verifier}\n" for name, cosigner in zip("abcd", COSIGNERS, strict=True)) + "quorum a\n"
    mine, other = ours(policy.encode()), theirs(policy.encode())
    assert mine is not None
    assert other is not None
    assert found(mine, note) == found_by_other(other, note)


def found(policy: WitnessPolicy, note: str) -> dict[str, int] | None:
    try:
        return {name: cosignature.at for name, cosignature in policy.cosignatures(note).items()}
    except AuditError:
        return None


def found_by_other(policy: OtherPolicy, note: str) -> dict[str, int] | None:
    try:
        checkpoint = OtherCheckpoint.parse(note)
        times = {name: checkpoint.cosigned_by(key) for name, key in policy.witnesses.items()}
    except ValueError:
        return None
    return {name: at for name, at in times.items() if at is not None}
