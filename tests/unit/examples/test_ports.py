"""The ports that processes of the demo and of the tests are promised before they listen."""

import socket
from itertools import islice

import pytest

from examples.halden.demo import company


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> range:
    few = range(company.PORTS.start - 100, company.PORTS.start - 60)  # nobody else looks there
    monkeypatch.setattr(company, "PORTS", few)
    monkeypatch.setattr(company, "port_turns", company.ports_in_turn())
    return few


def test_no_port_is_promised_twice_before_all_others_were(few: range) -> None:
    """Whoever got one may not listen on it yet, and nothing shows that it is taken."""
    free = [port for port in few if _free(port)]
    assert sorted(company.free_ports(len(free))) == free


def test_who_looks_beside_others_gets_none_of_theirs(few: range) -> None:
    shares = [set(islice(company.ports_in_turn(share, 3), len(few) // 3)) for share in range(3)]
    assert len(set.union(*shares)) == sum(map(len, shares))


def test_a_port_that_somebody_listens_on_is_passed_over(few: range, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        mine = taken.getsockname()[1]
        monkeypatch.setattr(company, "port_turns", iter([mine, *company.free_ports(1)]))
        assert company.free_ports(1) != [mine]


def _free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
