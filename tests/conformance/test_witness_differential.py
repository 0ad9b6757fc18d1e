"""Both sides of the witness protocol against a witness that was written from the specification's pages alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.reader import SqliteReader
from adapters.witness_http import WitnessHttp
from examples.halden.demo.company import free_ports
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.witnesses.policy import parse_policy
from router.audit.witnesses.protocol import request_body
from router.audit.witnesses.showing import Witnessing
from router.system import SystemClock
from router.wiring.witnesses import ReadLedger
from tests.conformance.reference_witness import ReferenceWitness
from tests.unit.audit.ledgers import SIGNER, entries, written
from tests.unit.audit.witnesses import START_S, Log, Witness, cosigner

LOG, FORK = Log(), Log("other")
SIZES = st.integers(0, 20)


def reference(log: Log = LOG) -> ReferenceWitness:
    key = Ed25519PrivateKey.from_private_bytes(bytes([log.seed]) * 32).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return ReferenceWitness("w1.example", Ed25519PrivateKey.from_private_bytes(bytes([101]) * 32), {log.name: key}, START_S)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """What an honest log, a forked one, or a clumsy client may send."""
    log, other = draw(st.sampled_from([LOG, LOG, LOG, FORK])), draw(st.sampled_from([LOG, FORK]))
    old, new = draw(SIZES), draw(SIZES)
    proof = draw(st.sampled_from([log.proof(old, new), log.proof(old, new), other.proof(old, new), log.proof(draw(SIZES), new)]))
    proof = draw(st.sampled_from([proof, proof, proof, proof[::-1], proof[1:], [*proof, bytes(32)]]))
    return request_body(old, proof, log.note(new))


@given(st.lists(requests(), max_size=12))
@settings(max_examples=150, deadline=None)
def test_both_witnesses_answer_alike(bodies: list[bytes]) -> None:
    """The same requests in the same order: the same statuses, the same sizes told, and the same cosignatures to the byte."""
    witness, other = Witness(), reference()
    assert cosigner().verifier == other.verifier
    for body in bodies:
        answer, (status, content_type, content) = witness.desk.add_checkpoint(body), other.add_checkpoint(body)
        assert answer.status == status
        if status == 200 or content_type == "text/x.tlog.size":
            assert answer.body.encode() == content
            assert answer.content_type == content_type or status == 200


@given(st.integers(0, 400), st.sampled_from([b"", b"\n", b" ", b"\x00", b"\xff", b"0", b"=", "—".encode(), b"+"]), st.integers(0, 2))
@settings(max_examples=400, deadline=None)
def test_both_witnesses_find_the_same_requests_malformed(at: int, put: bytes, cut: int) -> None:
    """A valid request with bytes put in or taken out anywhere."""
    whole = LOG.request(3, 8)
    body = whole[:at] + put + whole[at + cut :]
    witness, other = Witness(), reference()
    witness.desk.add_checkpoint(LOG.request(0, 3))
    other.add_checkpoint(LOG.request(0, 3))
    assert witness.desk.add_checkpoint(body).status == other.add_checkpoint(body)[0]


@asynccontextmanager
async def serving(witness: ReferenceWitness, asked: list[int]) -> AsyncIterator[str]:
    async def add(request: web.Request) -> web.Response:
        status, content_type, body = witness.add_checkpoint(await request.read())
        asked.append(status)
        return web.Response(status=status, content_type=content_type, body=body)

    application = web.Application()
    application.router.add_post("/prefix/add-checkpoint", add)
    runner = web.AppRunner(application)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/prefix"
    finally:
        await runner.cleanup()


async def test_a_witness_of_another_make_cosigns_a_real_ledger(tmp_path: Path) -> None:
    """A ledger on disk that grows by odd numbers of records, over HTTP with a prefix: every checkpoint is accepted, at most one question
    was answered with a size, and what is kept opens by the specification's own words."""
    public = SIGNER._key.public
    witness = ReferenceWitness("other.example/w", Ed25519PrivateKey.generate(), {SIGNER.name: public}, int(SystemClock().now_ns() / 1e9))
    asked: list[int] = []
    kept: list[str] = []

    async def keep(note: str, _: bool) -> None:
        kept.append(note)

    async with serving(witness, asked) as url:
        policy = parse_policy(f"witness w {witness.verifier} {url}/\nquorum w\n".encode(), "p")
        calls, size = WitnessHttp(5.0), 0
        for more in (1, 2, 4, 60, 190, 7, 256):
            written(tmp_path, entries(more))
            size += more
            view = ReadLedger(partial(SqliteReader, tmp_path / "ledger.sqlite", Stored))
            witnessing = Witnessing(policy, view, calls, SIGNER, SystemClock(), keep)
            agreed = await witnessing.agree()
            await witnessing.keep_asked(agreed)
            await view.close()
            assert note_checkpoint(kept[-1]).size == size == witness.seen[SIGNER.name][0]
            assert policy.witnessed(policy.cosignatures(kept[-1])) is not None
        await calls.close()
    assert set(asked) == {200, 409}
    assert asked.count(409) == asked.count(200) == 7
