"""Whoever can write to the database can change the journal, and cannot do so unseen: each way of it is planted and found."""

from dataclasses import asdict, replace

import pytest

from cutover.errors import JournalTampered
from cutover.journal import Journal, Tenure
from cutover.journal.canonical import canonical
from cutover.journal.chain import Head, sealed
from cutover.journal.schema import ENTRIES
from tests.contract.journal.conftest import Place

LAST = 9
HASHED = sorted(set(ENTRIES.columns.keys()) - {"run", "seq"})


@pytest.fixture
def written(begun: Journal) -> Journal:
    driver = Tenure.take(begun, "orders", "driver-1", 60)
    for number in range(1, LAST + 1):
        driver.write("note", "soaking", "look", {"number": number, "words": "all is well"})
    return begun


def test_a_journal_that_nobody_touched_holds(written: Journal) -> None:
    head = written.head("orders")
    assert head[0] == LAST
    assert written.verify("orders") == written.verify("orders", head) == head


def test_an_earlier_head_of_an_untouched_journal_holds(written: Journal) -> None:
    entry = written.entries("orders")[4]
    assert written.verify("orders", (4, entry.hash)) == written.head("orders")


def test_an_edit_is_found(written: Journal, place: Place) -> None:
    place.raw("UPDATE entries SET body = REPLACE(body, 'all is well', 'all was well') WHERE seq = 4")
    assert _broken(written) == (4, "edited")


@pytest.mark.parametrize("column", HASHED)
def test_an_edit_of_any_column_is_found(written: Journal, place: Place, column: str) -> None:
    place.raw(f"UPDATE entries SET {column} = {_changed(column)} WHERE seq = 4")
    assert _broken(written)[0] == 4


def _changed(column: str) -> str:
    if column in {"at_ms", "steps_version", "lease_epoch"}:
        return f"{column} + 1"
    return "'" + "ab" * 32 + "'" if column in {"previous", "hash"} else f"{column} || ' '"


def test_an_edit_of_a_body_that_means_the_same_json_is_found(written: Journal, place: Place) -> None:
    place.raw("""UPDATE entries SET body = '{"words":"all is well","number":4}' WHERE seq = 4""")
    assert _broken(written) == (4, "edited")


def test_a_body_that_is_no_json_is_found(written: Journal, place: Place) -> None:
    place.raw("UPDATE entries SET body = '{' WHERE seq = 4")
    assert _broken(written) == (4, "edited")


@pytest.mark.parametrize("seq", [0, 4])
def test_a_deletion_is_found(written: Journal, place: Place, seq: int) -> None:
    place.raw(f"DELETE FROM entries WHERE seq = {seq}")
    assert _broken(written) == (seq, "deleted")


def test_a_deletion_whose_gap_was_closed_is_found(written: Journal, place: Place) -> None:
    place.raw("DELETE FROM entries WHERE seq = 4")
    for seq in range(5, LAST + 1):
        place.raw(f"UPDATE entries SET seq = {seq - 1} WHERE seq = {seq}")
    place.raw(f"UPDATE runs SET head_seq = {LAST - 1}")
    assert _broken(written) == (4, "reordered")


def test_an_insertion_is_found_though_it_is_linked_to_the_one_before(written: Journal, place: Place) -> None:
    entries = written.entries("orders")
    _shift(place, 4, LAST)
    _insert(place, written, 4, entries[3].hash)
    assert _broken(written) == (5, "inserted")


def test_an_insertion_behind_the_last_entry_is_found(written: Journal, place: Place) -> None:
    _insert(place, written, LAST + 1, written.head("orders")[1])
    assert _broken(written) == (LAST + 1, "inserted")


def test_two_entries_that_changed_places_are_found(written: Journal, place: Place) -> None:
    for here, there in ((4, 99), (5, 4), (99, 5)):
        place.raw(f"UPDATE entries SET seq = {there} WHERE seq = {here}")
    assert _broken(written) == (4, "reordered")


def test_entries_cut_off_are_found_by_the_runs_own_head(written: Journal, place: Place) -> None:
    place.raw("DELETE FROM entries WHERE seq > 6")
    assert _broken(written) == (7, "truncated")


def test_entries_cut_off_together_with_the_runs_own_head_are_found_by_an_exported_head(written: Journal, place: Place) -> None:
    exported = written.head("orders")
    _cut_off(place, written, 6)
    assert written.verify("orders")[0] == 6, "without a head from elsewhere nobody can tell"
    assert _broken(written, exported) == (7, "truncated")


def test_a_fork_is_found_where_the_old_line_goes_on(written: Journal, place: Place) -> None:
    before = written.entries("orders")[3].hash
    place.raw("DELETE FROM entries WHERE seq = 4")
    _insert(place, written, 4, before)
    assert _broken(written) == (5, "forked")


def test_a_fork_that_was_rewritten_to_its_end_is_found_by_an_exported_head(written: Journal, place: Place) -> None:
    exported = written.head("orders")
    _cut_off(place, written, 6)
    driver = Tenure.take(written, "orders", "driver-1", 60)
    for number in range(7, LAST + 3):
        driver.write("note", "soaking", "look", {"number": number, "words": "another story"})
    assert written.verify("orders")[0] == LAST + 2
    assert _broken(written, exported) == (LAST, "forked")


def test_an_entry_whose_link_goes_elsewhere_is_found(written: Journal, place: Place) -> None:
    entries = written.entries("orders")
    place.raw("DELETE FROM entries WHERE seq > 8")
    _insert(place, written, 9, entries[3].hash)
    assert _broken(written) == (9, "forked")


def test_a_last_entry_that_was_written_anew_is_found_by_the_runs_own_head(written: Journal, place: Place) -> None:
    before = written.entries("orders")[LAST - 1].hash
    place.raw(f"DELETE FROM entries WHERE seq = {LAST}")
    _insert(place, written, LAST, before)
    assert _broken(written) == (LAST, "forked")


@pytest.mark.parametrize(
    "change",
    ["plan_digest = 'another'", "pair = 'another'", "steps_version = 2", """plan = '{"cutover":"another"}'"""],
    ids=lambda change: str(change).split()[0],
)
def test_a_run_that_says_something_else_than_its_first_entry_is_found(written: Journal, place: Place, change: str) -> None:
    place.raw(f"UPDATE runs SET {change}")
    assert _broken(written) == (0, "edited")


def test_a_run_that_was_declared_ended_by_hand_is_found(written: Journal, place: Place) -> None:
    place.raw("UPDATE runs SET ended_at_ms = 1")
    assert _broken(written) == (LAST, "edited")


def test_a_run_that_was_removed_altogether_is_found_by_an_exported_head(written: Journal, place: Place) -> None:
    exported = written.head("orders")
    place.raw("DELETE FROM entries")
    place.raw("DELETE FROM runs")
    assert _broken(written, exported) == (0, "truncated")


def _broken(journal: Journal, head: Head | None = None) -> tuple[int, str]:
    with pytest.raises(JournalTampered) as found:
        journal.verify("orders", head)
    assert found.value.exit_code == 5
    assert f"entry {found.value.fields['seq']}" in found.value.what
    return found.value.fields["seq"], found.value.fields["how"]


def _insert(place: Place, journal: Journal, seq: int, previous: str) -> None:
    """Plant an entry whose own hash is right."""
    model = next(entry for entry in journal.entries("orders") if entry.kind == "note")
    planted = asdict(sealed(replace(model, seq=seq, body={"number": seq, "words": "planted"}, previous=previous)))
    planted["body"] = canonical(planted["body"])
    values = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in planted.values())
    place.raw(f"INSERT INTO entries ({', '.join(planted)}) VALUES ({values})")


def _shift(place: Place, begin: int, end: int) -> None:
    for seq in range(end, begin - 1, -1):
        place.raw(f"UPDATE entries SET seq = {seq + 1} WHERE seq = {seq}")
    place.raw(f"UPDATE runs SET head_seq = {end + 1}")


def _cut_off(place: Place, journal: Journal, last: int) -> None:
    kept = journal.entries("orders")[last].hash
    place.raw(f"UPDATE runs SET head_seq = {last}, head_hash = '{kept}'")
    place.raw(f"DELETE FROM entries WHERE seq > {last}")
