"""What is kept of the order that a delivery goes in: HMAC-SHA256 of what a door tells, under a key derived (HKDF) from the sealing key.

A door makes an order of whatever requests and events have in common, such as a subject or an address, and anybody could try such on a
digest of it. What is kept tells who reads the ledger only which deliveries go together. It is the same on all nodes of a ledger, and made
where the sealing key is, when the delivery is stored.
"""

from __future__ import annotations

import hmac

from router.audit.keys.store import derived

_VERSION = b"\x01"  # so that none is as long as what is told, which releases of before kept


class Lanes:
    def __init__(self, sealing_key: bytes) -> None:
        """The sealing key is not used itself."""
        self._key = derived(sealing_key, b"lockgate delivery lanes v1")

    def lane(self, order: bytes) -> bytes:
        return order and _VERSION + hmac.digest(self._key, order, "sha256")
