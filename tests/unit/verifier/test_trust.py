from __future__ import annotations

import pytest

from lockgate_verify.failure import Refusal
from lockgate_verify.note import LOG, Checkpoint, Key
from lockgate_verify.trust import Change, Reign, follow, signer
from router.audit.tree import checkpoint as ledgers
from vectors.ledger import NEW, OLD, ORIGIN, both

KEYS = {name: Key.parse(signer.verifier, LOG) for name, signer in (("old", OLD), ("new", NEW))}
TREE = ledgers.Checkpoint(ORIGIN, 9, bytes(32))


def read(note: str) -> Checkpoint:
    return Checkpoint.parse(note)


def test_a_key_that_came_after_a_lost_one_is_named_and_not_trusted() -> None:
    """For the bundle's checkpoint and the outside one alike."""
    found = [Reign(KEYS["old"], 0, 5), Reign(KEYS["new"], 6, vouched=False)]
    for prefix in ("", "outside_"):
        with pytest.raises(Refusal, match="signed by a key that record 5 names, but a key before it was lost") as caught:
            signer(7, prefix, read(NEW.sign(TREE.text())), found)
        assert caught.value.id == f"{prefix}key_not_vouched"


def test_a_wrong_signature_by_a_key_that_nobody_vouches_for_is_passed_over() -> None:
    """It is a stranger's, and a stranger's line must not spoil a checkpoint."""
    note = OLD.sign(TREE.text()) + NEW.sign("something else\n").rpartition("\n\n")[2]
    assert signer(5, "", read(note), [Reign(KEYS["old"], 0), Reign(KEYS["new"], 6, vouched=False)]) == KEYS["old"]


def test_a_hand_over_is_the_new_keys_first_tree() -> None:
    """Both sign it; the old key alone may not, for whoever stole it has the true hand-over from any bundle."""
    found = follow([Change(8, str(KEYS["old"]), KEYS["old"], KEYS["new"])], [KEYS["new"]])
    assert signer(5, "", read(both(TREE)), found) == KEYS["new"]
    with pytest.raises(Refusal) as caught:
        signer(5, "", read(OLD.sign(TREE.text())), found)
    assert caught.value.id == "key_not_in_force"


def test_of_two_keys_in_force_the_later_one_counts() -> None:
    """Where somebody trusts both of them."""
    found = [Reign(KEYS["old"], 0), Reign(KEYS["new"], 9)]
    assert signer(5, "", read(both(TREE)), found) == KEYS["new"]
    assert signer(5, "", read(OLD.sign(TREE.text())), found) == KEYS["old"]


def test_the_key_of_another_ledger_does_not_count() -> None:
    """A log signs for itself only."""
    other = ledgers.Checkpoint("other.example", 9, bytes(32))
    with pytest.raises(Refusal) as caught:
        signer(5, "", read(OLD.sign(other.text())), [Reign(KEYS["old"], 0)])
    assert caught.value.id == "signature_missing"


def test_a_key_with_the_id_of_a_trusted_one_hands_over_nothing() -> None:
    """An id is four bytes, and a second key for it can be found."""
    old, new = KEYS["old"], KEYS["new"]
    double = Key(old.name, old.id, LOG, bytes(32))
    assert str(double) == str(old)
    assert follow([Change(5, str(double), double, new)], [old]) == [Reign(old, 0)]
    assert follow([Change(5, str(old), old, new)], [old]) == [Reign(old, 0, 5), Reign(new, 6)]


def test_what_is_known_of_a_lost_key_ends_its_reign() -> None:
    """Its name and id are enough for that, and the next one is not trusted for it."""
    old, new = KEYS["old"], KEYS["new"]
    assert follow([Change(5, str(old), None, new)], [old]) == [Reign(old, 0, 5), Reign(new, 6, vouched=False)]


def test_a_trusted_key_leads_back_to_the_one_before_it() -> None:
    """Both have signed the hand-over; nothing leads back over a lost key."""
    old, new = KEYS["old"], KEYS["new"]
    assert follow([Change(5, str(old), old, new)], [new]) == [Reign(new, 6), Reign(old, 0, 5)]
    assert follow([Change(5, str(old), None, new)], [new]) == [Reign(new, 6)]
