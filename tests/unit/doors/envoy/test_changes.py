"""What Envoy is told to change, so that the upstream gets what our own gateway would have sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.doors.envoy.changes import changes, lost
from router.ports import Headers, Outbound

PSEUDO: Headers = [(b":method", b"POST"), (b":path", b"/a?b=1"), (b":authority", b"yard"), (b":scheme", b"http")]


def outbound(headers: Headers, body: object = b"", target: str = "/a?b=1", method: str = "POST") -> Outbound:
    return Outbound(method=method, target=target, headers=headers, body=body)


def test_nothing_is_touched_that_stays() -> None:
    """A field that goes on as it came is in neither list."""
    made = changes([*PSEUDO, (b"accept", b"*/*")], b"x", outbound([(b"accept", b"*/*")], b"x"))
    assert (made.set, made.remove, made.body) == ([], (), None)


def test_what_does_not_go_on_is_removed_and_what_is_new_is_set() -> None:
    made = changes([*PSEUDO, (b"authorization", b"Bearer x")], b"", outbound([(b"x-lockgate-risk", b"low")]))
    assert (made.set, made.remove) == ([(b"x-lockgate-risk", b"low")], (b"authorization",))


def test_of_a_field_that_changes_all_lines_are_set() -> None:
    made = changes([*PSEUDO, (b"a", b"1"), (b"a", b"2")], b"", outbound([(b"a", b"1"), (b"a", b"3")]))
    assert (made.set, made.remove) == ([(b"a", b"1"), (b"a", b"3")], ())


def test_what_is_envoys_stays_envoys() -> None:
    """Framing, connections, its own fields and its own hop are neither set nor removed."""
    envoys: Headers = [(b"connection", b"x"), (b"te", b"trailers"), (b"x-envoy-peer", b"y"), (b"x-forwarded-for", b"192.0.2.1")]
    made = changes(
        [*PSEUDO, *envoys], b"", outbound([(b"x-forwarded-for", b"198.51.100.1"), (b"host", b"other"), (b"content-length", b"9")])
    )
    assert (made.set, made.remove) == ([], ())


def test_a_field_that_envoy_would_not_be_told_of_is_found() -> None:
    """Policy may not believe that it was set."""
    assert lost(["x-good", "x-envoy-colour"]) == "x-envoy-colour"
    assert lost(["x-forwarded-for"]) == "x-forwarded-for"
    assert lost(["x-good", "x-forwarded-host"]) is None


def test_another_path_or_method_is_set() -> None:
    made = changes(PSEUDO, b"", outbound([], target="/other", method="PUT"))
    assert made.set == [(b":path", b"/other"), (b":method", b"PUT")]


def test_a_body_is_replaced_only_where_it_differs() -> None:
    assert changes(PSEUDO, b"one", outbound([], b"two")).body == b"two"
    assert changes(PSEUDO, b"one", outbound([], b"one")).body is None
    assert changes(PSEUDO, b"", outbound([], iter(()))).body is None  # it streams


NAMES = st.sampled_from([b"a", b"b", b"authorization", b"x-lockgate-intent", b"connection", b"x-envoy-a"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"1", b"2", b""])), max_size=8)


@given(FIELDS, FIELDS)
def test_carried_out_they_give_what_was_wanted(came: Headers, wanted: Headers) -> None:
    """Removing and setting, as Envoy does it, turns what came into what our own gateway sends, for every field that is ours."""
    made = changes([*PSEUDO, *came], b"", outbound(wanted))
    set_names = {name for name, _ in made.set}
    left = [(name, value) for name, value in came if name not in set_names and name not in made.remove] + made.set
    ours = {b"a", b"b", b"authorization", b"x-lockgate-intent"}
    assert _grouped(left, ours) == _grouped(wanted, ours)


def _grouped(fields: Headers, names: set[bytes]) -> dict[bytes, list[bytes]]:
    return {name: [value for found, value in fields if found == name] for name in names if any(found == name for found, _ in fields)}
