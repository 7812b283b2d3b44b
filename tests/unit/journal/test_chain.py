"""The chain: whatever is changed in it is found, at the place where it was changed or at the next one."""

import hashlib
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cutover.journal.chain import GENESIS, first_break, link, sealed
from cutover.journal.model import Entry

LENGTH = 12


def chain(words: str = "well") -> list[Entry]:
    entries: list[Entry] = []
    for seq in range(LENGTH):
        previous = entries[-1].hash if entries else GENESIS
        entries.append(
            sealed(Entry("orders", seq, 1000 + seq, "note", "soaking", "look", {"n": seq, "w": words}, "d", 1, 1, "me", previous, ""))
        )
    return entries


WHOLE = chain()
HEAD = (LENGTH - 1, WHOLE[-1].hash)
PLACES = st.integers(0, LENGTH - 1)


def test_an_untouched_chain_holds() -> None:
    assert first_break(WHOLE, HEAD) is None
    assert all(first_break(WHOLE, HEAD, (entry.seq, entry.hash)) is None for entry in WHOLE)


def test_a_hash_is_what_the_page_says_it_is() -> None:
    entry = WHOLE[3]
    text = (
        '{"at_ms":1003,"body":{"n":3,"w":"well"},"holder":"me","kind":"note","lease_epoch":1,"plan_digest":"d",'
        '"run":"orders","seq":3,"stage":"soaking","step":"look","steps_version":1}'
    )
    leaf = hashlib.sha256(b"\x00" + text.encode()).digest()
    assert link(entry) == hashlib.sha256(b"\x01" + bytes.fromhex(WHOLE[2].hash) + leaf).hexdigest()
    assert WHOLE[0].previous == "0" * 64


def test_a_leaf_cannot_pass_for_a_link() -> None:
    entry = WHOLE[3]
    text = json.dumps({"any": "thing"}).encode()
    assert link(entry) != hashlib.sha256(b"\x00" + text).hexdigest()


@given(PLACES, st.sampled_from(["at_ms", "kind", "stage", "step", "body", "plan_digest", "steps_version", "lease_epoch", "holder", "run"]))
def test_a_changed_field_is_found_in_its_place(seq: int, field: str) -> None:
    changed = {"body": {"n": seq, "w": "ill"}}.get(field) or (9 if isinstance(getattr(WHOLE[seq], field), int) else "other")
    broken = first_break([*WHOLE[:seq], replace(WHOLE[seq], **{field: changed}), *WHOLE[seq + 1 :]], HEAD)  # type: ignore[arg-type]
    assert broken is not None
    assert (broken.seq, broken.how) == (seq, "edited")


@given(st.sets(PLACES, min_size=1))
def test_missing_entries_are_found_at_the_first_of_them(gone: set[int]) -> None:
    left = [entry for entry in WHOLE if entry.seq not in gone]
    broken = first_break(left, HEAD)
    assert broken is not None
    assert broken.seq == min(gone)
    assert broken.how == ("truncated" if gone == set(range(min(gone), LENGTH)) else "deleted")


@given(st.permutations(range(LENGTH)))
def test_entries_in_another_order_are_found_where_the_order_first_differs(order: list[int]) -> None:
    moved = [replace(WHOLE[place], seq=seq) for seq, place in enumerate(order)]
    broken = first_break(moved, HEAD)
    first = next((seq for seq, place in enumerate(order) if seq != place), None)
    assert (broken.seq, broken.how) == (first, "reordered") if broken else first is None


@given(PLACES)
def test_a_line_rewritten_from_somewhere_on_is_found_where_it_meets_the_old_one(seq: int) -> None:
    other = chain("ill")
    joined = [*WHOLE[:seq], *other[seq:]]
    broken = first_break(joined, (LENGTH - 1, other[-1].hash))
    assert (broken.seq, broken.how) == (seq, "forked") if broken else seq == 0


def test_a_line_rewritten_as_a_whole_is_found_by_an_exported_head_alone() -> None:
    other = chain("ill")
    own = (LENGTH - 1, other[-1].hash)
    assert first_break(other, own) is None
    broken = first_break(other, own, (4, WHOLE[4].hash))
    assert broken is not None
    assert (broken.seq, broken.how) == (4, "forked")


def test_a_second_entry_of_the_same_number_is_found() -> None:
    broken = first_break([*WHOLE[:5], WHOLE[4], *WHOLE[5:]], HEAD)
    assert broken is not None
    assert (broken.seq, broken.how) == (4, "forked")


def test_an_entry_whose_previous_hash_is_no_hash_is_found() -> None:
    broken = first_break([*WHOLE[:3], replace(WHOLE[3], previous="no hash")], HEAD)
    assert broken is not None
    assert (broken.seq, broken.how) == (3, "edited")


def test_an_entry_behind_the_head_is_found() -> None:
    broken = first_break(WHOLE, (LENGTH - 2, WHOLE[-2].hash))
    assert broken is not None
    assert (broken.seq, broken.how) == (LENGTH - 1, "inserted")
