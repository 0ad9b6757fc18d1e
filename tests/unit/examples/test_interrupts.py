"""Whoever ends the demonstration while it starts a process is heeded when that process is known."""

from __future__ import annotations

import signal
import threading

import pytest

from examples.halden.demo import interrupts


def test_what_comes_meanwhile_is_heeded_afterwards_and_handlers_are_as_before() -> None:
    before = {number: signal.getsignal(number) for number in interrupts.ENDING}
    known = list[str]()

    @interrupts.postponed()
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        known.append("process")

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert known == ["process"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_request_to_end_says_so_in_its_exit_status() -> None:
    before = {number: signal.getsignal(number) for number in interrupts.ENDING}
    try:
        interrupts.by_exceptions()
        with pytest.raises(SystemExit) as raised:
            signal.raise_signal(signal.SIGTERM)
        assert raised.value.code == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_other_threads_have_no_signals_to_postpone() -> None:
    seen = list[bool]()

    def work() -> None:
        with interrupts.postponed():
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
