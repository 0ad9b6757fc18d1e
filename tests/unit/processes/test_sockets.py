"""Listening sockets that somebody else has."""

from __future__ import annotations

import socket

import pytest

from router.errors import ConfigError
from router.processes.sockets import bound, held, listen, refuse_shared

HERE = "127.0.0.1"


def test_a_port_on_which_another_process_of_this_user_shares_is_not_held() -> None:
    """Two nodes with one port for Envoy would each decide a part of what the other is asked, by another configuration."""
    (first,) = held(HERE, 0, 1)
    port = first.getsockname()[1]
    with first, socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind((HERE, port))
        worker.listen()
        with pytest.raises(ConfigError, match=rf"cannot listen on {HERE}:{port} \(envoy\.listen\): address already in use"):
            held(HERE, port, 1, "envoy.listen")
        with pytest.raises(ConfigError, match=r"envoy\.listen"):
            refuse_shared(HERE, port, "envoy.listen")


def test_a_port_that_is_only_held_is_not_taken_for_one_that_is_served() -> None:
    """A node asks again before its workers serve, when it holds the port itself."""
    (sock,) = held(HERE, 0, 1)
    with sock:
        refuse_shared(HERE, sock.getsockname()[1])


def test_ports_that_there_are_none_of_are_told_and_none_is_kept() -> None:
    """The second worker's would be beyond the last."""
    with pytest.raises(ConfigError, match=f"cannot listen on {HERE}:65536"):
        held(HERE, 65535, 2)
    held(HERE, 65535, 1)[0].close()


def test_a_setting_is_named_whose_address_cannot_be_had() -> None:
    """Of several listeners one sees which it is, also where the address was lost between the two steps."""
    with listen(bound(HERE, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{HERE}:{port} \(control\.listen\)"):
            bound(HERE, port, "control.listen")
    with bound(HERE, 0) as ours, bound(HERE, ours.getsockname()[1]) as faster:
        listen(faster)
        with pytest.raises(ConfigError, match=r"\(gateway\.listen\): address already in use"):
            listen(ours, "gateway.listen")
