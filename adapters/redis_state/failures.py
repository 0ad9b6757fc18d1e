"""What Redis answers instead of an answer, as ours: here and nowhere else."""

from __future__ import annotations

import hiredis

from router.errors import StateError
from router.settings import Address

LOST = "shared_state_unavailable"
LATE = "shared_state_late"
DENIED = "shared_state_denied"
UNUSABLE = "shared_state_failed"

_DENIED = ("NOAUTH", "WRONGPASS", "NOPERM")
_DENIED_IN_SCRIPT = ("user executing the script can't run", "ACL failure in script")
_NOT_NOW = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY")
_ELSEWHERE = ("MOVED", "ASK")


class ScriptUnknownError(StateError):
    """The server has not seen this script since it started."""


class MovedError(StateError):
    """A cluster's node says that a key is at another: for good, or (`once`) for this question."""

    def __init__(self, to: Address, *, once: bool) -> None:
        super().__init__(f"Redis says that the key is at {to}.", UNUSABLE)
        self.to = to
        self.once = once


def late(address: Address) -> StateError:
    return StateError(f"Redis at {address} did not answer in time.", LATE)


def translated(address: Address, error: hiredis.ReplyError) -> StateError:
    word, _, rest = str(error).partition(" ")
    if word == "NOSCRIPT":
        return ScriptUnknownError("The script is not there.", UNUSABLE)
    if word in _ELSEWHERE:
        host, _, port = rest.rpartition(" ")[2].rpartition(":")
        return MovedError(Address(host or address.host, int(port)), once=word == "ASK")
    if word in _DENIED or any(each in rest for each in _DENIED_IN_SCRIPT):
        return StateError(f"Redis at {address} does not allow it: {error}.".replace("..", "."), DENIED)
    code = LOST if word in _NOT_NOW else UNUSABLE
    return StateError(f"Redis at {address} cannot do it: {error}.".replace("..", "."), code)
