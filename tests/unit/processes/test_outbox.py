"""An entry comes out of the control process as it went in at the worker, whatever lies beside it."""

from __future__ import annotations

from dataclasses import astuple

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from router.ports import Arrival, Delivery, Due, Entry, Settled
from router.processes.outbox import packed_delivery, packed_entry, unpacked_delivery, unpacked_entry

BYTES, TEXT, COUNT = st.binary(max_size=20), st.text(max_size=10), st.integers(0, 2**62)
DELIVERIES = st.builds(
    Delivery, TEXT, TEXT, TEXT, st.sampled_from(Due), TEXT, BYTES, COUNT, COUNT, COUNT, BYTES, TEXT, COUNT, COUNT, TEXT, st.none() | TEXT
)
SETTLED = st.builds(Settled, TEXT, st.booleans(), COUNT, TEXT, TEXT)
ENTRIES = st.builds(Entry, BYTES, BYTES, TEXT, st.none() | st.builds(Arrival, BYTES, BYTES), st.none() | DELIVERIES, st.none() | SETTLED)


@given(ENTRIES)
def test_an_entry_is_the_same_on_the_other_side(entry: Entry) -> None:
    assert unpacked_entry(msgpack.unpackb(msgpack.packb(packed_entry(entry)))) == entry


@given(DELIVERIES)
def test_a_delivery_travels_as_its_fields_in_order(delivery: Delivery) -> None:
    """Every field of it: one that is added later travels too."""
    assert packed_delivery(delivery) == astuple(delivery)
    found = unpacked_delivery(msgpack.unpackb(msgpack.packb(packed_delivery(delivery))))
    assert found == delivery
    assert isinstance(found.due, Due)
