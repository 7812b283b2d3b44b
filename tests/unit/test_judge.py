"""The tests' own judge is green for a true copy and names each planted fault; a judge that cannot fail judges nothing."""

from dataclasses import replace

from tests.judge.verdict import PROVENANCE_KEY, Place, Record, Verdict, compare, stamp

RUN = bytes(8)
POSITIONS = {0: 4, 1: 2}
ORIGIN = [
    Record(p, o, f"k{p}".encode(), f"v{p}{o}".encode(), (("h", b"1"), ("h", None)), 1000 + o)
    for p, n in POSITIONS.items()
    for o in range(n)
]


def place(key: bytes | None, _: Place) -> int:
    return 3 if key == b"k0" else 5


def copy_of(record: Record, offset: int) -> Record:
    at = Place(record.partition, record.offset)
    return replace(record, partition=place(record.key, at), offset=offset, headers=(*record.headers, (PROVENANCE_KEY, stamp(RUN, 0, at))))


COPIES = [copy_of(record, 10 * number) for number, record in enumerate(ORIGIN)]


def verdict(follower: list[Record], positions: dict[int, int] | None = None) -> Verdict:
    return compare(ORIGIN, follower, POSITIONS if positions is None else positions, place)


def test_a_true_copy_is_equal() -> None:
    assert verdict(COPIES).is_equal
    assert str(verdict(COPIES)) == "6 records on the follower: equal"


def test_a_record_that_is_missing_below_the_position_is_lost() -> None:
    found = verdict(COPIES[:2] + COPIES[3:])
    assert found == Verdict(lost=(Place(0, 2),))
    assert str(found) == "5 records on the follower: 1 lost from Place(partition=0, offset=2)"


def test_a_record_that_the_position_does_not_cover_is_beyond_it() -> None:
    assert verdict(COPIES, {0: 3, 1: 2}) == Verdict(beyond=(Place(0, 3),))
    assert verdict(COPIES, {0: 4}) == Verdict(beyond=(Place(1, 0), Place(1, 1)))


def test_a_second_copy_is_a_duplicate() -> None:
    assert verdict([*COPIES, copy_of(ORIGIN[3], 31)]) == Verdict(duplicated=(Place(0, 3),))


def test_an_older_record_after_a_newer_one_is_out_of_order() -> None:
    swapped = [copy_of(ORIGIN[0], 10), copy_of(ORIGIN[1], 0), *COPIES[2:]]
    assert verdict(swapped) == Verdict(reordered=(Place(0, 0),))


def test_each_changed_part_of_a_record_is_a_change() -> None:
    for changed in (
        replace(COPIES[0], value=b"other"),
        replace(COPIES[0], timestamp_ms=1),
        replace(COPIES[0], headers=COPIES[0].headers[1:]),
        replace(COPIES[0], headers=(*COPIES[0].headers[1::-1], COPIES[0].headers[2])),
    ):
        assert verdict([changed, *COPIES[1:]]) == Verdict(changed=(Place(0, 0),))


def test_a_key_in_another_partition_is_misplaced() -> None:
    assert verdict([replace(COPIES[0], partition=4), *COPIES[1:]]) == Verdict(misplaced=(Place(0, 0),))


def test_a_record_of_no_origin_is_a_phantom() -> None:
    of_nothing = replace(COPIES[0], offset=77, headers=((PROVENANCE_KEY, stamp(RUN, 0, Place(0, 99))),))
    without = replace(COPIES[0], offset=78, headers=((PROVENANCE_KEY, b"too short"),))
    assert verdict([*COPIES, of_nothing, without]) == Verdict(phantoms=(Place(3, 77), Place(3, 78)))


def test_provenance_of_another_version_is_none() -> None:
    value = b"\x02" + stamp(RUN, 0, Place(0, 0))[1:]
    assert replace(COPIES[0], headers=((PROVENANCE_KEY, value),)).origin is None
