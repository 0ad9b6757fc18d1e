"""The circuit breaker decides with the time it is given."""

from __future__ import annotations

from adapters.http_upstream.circuit import Circuit


def opened() -> Circuit:
    circuit = Circuit(failures=2, open_for=10.0)
    for _ in range(2):
        circuit.enter()
        circuit.failed(100.0)
    return circuit


def test_closed_until_enough_failures_in_a_row() -> None:
    """A success in between starts the count again."""
    circuit = Circuit(failures=2, open_for=10.0)
    circuit.failed(0.0)
    circuit.succeeded()
    circuit.failed(0.0)
    assert circuit.allows(0.0)
    circuit.failed(0.0)
    assert not circuit.allows(0.0)


def test_open_for_its_time() -> None:
    """Nothing passes before, one may pass after."""
    circuit = opened()
    assert not circuit.allows(109.9)
    assert circuit.allows(110.0)


def test_only_one_probe() -> None:
    """While the probe is out nobody else passes."""
    circuit = opened()
    circuit.enter()
    assert not circuit.allows(200.0)


def test_probe_that_answers_closes_it() -> None:
    """The head of a response is enough."""
    circuit = opened()
    circuit.enter()
    circuit.answered()
    assert circuit.allows(110.0)


def test_probe_that_fails_opens_it_again() -> None:
    """And the time runs anew."""
    circuit = opened()
    circuit.enter()
    circuit.failed(110.0)
    assert not circuit.allows(119.9)
    assert circuit.allows(120.0)


def test_probe_without_a_verdict_lets_another_try() -> None:
    """The caller left: that says nothing about the upstream."""
    circuit = opened()
    circuit.enter()
    circuit.abandoned()
    assert circuit.allows(110.0)


def test_heads_alone_do_not_clear_failures() -> None:
    """An upstream that answers and then breaks off every body still opens the circuit."""
    circuit = Circuit(failures=2, open_for=10.0)
    for _ in range(2):
        circuit.enter()
        circuit.answered()
        circuit.failed(0.0)
    assert not circuit.allows(0.0)
