"""Positions across real flips: the engine's answer, the second derivation and a full scan of both topics are one."""

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from confluent_kafka import TopicPartition as Where
from confluent_kafka.admin import AdminClient

from cutover import wiring
from cutover.connection import Connection
from cutover.engine import translating
from cutover.engine.control import Across, Epoch, Translation
from cutover.errors import EngineRefusedInput, NothingMirrored, NotMovable, PositionsExpired, TranslationsDiffer
from tests.conftest import MakeTopic
from tests.epochs import Flipped, Vector

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("epochs")]

PROVENANCE = struct.Struct(">B8sIIQ")
VECTORS = 6
TO_TARGET: Across = "source_to_target"
TO_SOURCE: Across = "target_to_source"
MakeStory = Callable[[int, int], Flipped]


class Twin(NamedTuple):
    """One record on both topics."""

    source: tuple[int, int]
    target: tuple[int, int]


@pytest.fixture
def story(
    bootstrap: str, topic: MakeTopic, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeStory]:
    """Makes pairs of so many partitions."""
    runtime = tmp_path_factory.mktemp("p")
    runtime.chmod(0o700)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(runtime))
    connection = Connection.load(bootstrap=bootstrap)
    with wiring.cluster(connection) as cluster, wiring.control(connection, cluster) as control:
        yield lambda origins, followers: Flipped.create(bootstrap, cluster, control, topic, (origins, followers))


def epochs_of(pair: Flipped) -> list[Epoch]:
    """All epochs with their bounds, as the control log tells them."""
    found = []
    for number in range(pair.epoch + 1):
        run, (origin, follower) = pair.run(number), pair.sides(number)
        began, ended = pair.cuts[number - 1 : number] if number else [], pair.cuts[number : number + 1]
        starts = {name: each.of(name, pair.source.name) for name in (origin.name, follower.name) for each in began}
        ends = {name: each.of(name, pair.source.name) for name in (origin.name, follower.name) for each in ended}
        bounds: dict[str, Any] = {
            "start": starts.get(origin.name),
            "follower_start": starts.get(follower.name),
            "end": ends.get(origin.name),
            "follower_end": ends.get(follower.name),
        }
        found.append(Epoch(run_id=run.run_id, epoch=number, group=run.group, origin=origin, follower=follower, **bounds))
    return found


def twins(pair: Flipped) -> list[Twin]:
    """Every record that a mirror wrote, beside its origin: all of both topics is read."""
    found = []
    for topic in (pair.source, pair.target):
        for each in pair.read(topic):
            if each.headers and each.headers[-1][0] == "_cutover":
                _, _, _, p, offset = PROVENANCE.unpack(each.headers[-1][1] or b"")
                here, there = (each.partition, each.offset), (p, offset)
                found.append(Twin(here, there) if topic is pair.source else Twin(there, here))
    return found


def translate(pair: Flipped, direction: Across, vector: Mapping[int, int]) -> Translation:
    """The engine's answer, derived a second time."""
    told = pair.control.translate(epochs_of(pair), direction, vector)
    require_equal(pair, direction, told)
    return told


def require_equal(pair: Flipped, direction: Across, told: Translation) -> None:
    translating.require_equal(pair.cluster, wiring.reader(pair.connection), epochs_of(pair), direction, told)


def scanned(both: list[tuple[tuple[int, int], tuple[int, int]]], vector: Vector, ends: Vector) -> tuple[Vector, Vector]:
    """Per partition of the other topic the first record that was not read, and how many from there on were."""
    first, again = dict(ends), dict.fromkeys(ends, 0)
    for (p, offset), (q, at) in both:
        if offset >= vector[p]:
            first[q] = min(first[q], at)
    for (p, offset), (q, at) in both:
        again[q] += offset < vector[p] and at >= first[q]
    return first, again


def vectors(pair: Flipped, topic_ends: Vector, of: str) -> Iterator[Vector]:
    """The beginning, the end, each cut, within each epoch, and each partition anywhere."""
    rng = random.Random(of)
    cuts = [each.of(of, pair.source.name) for each in pair.cuts]
    yield dict.fromkeys(topic_ends, 0)
    yield topic_ends
    yield from cuts
    spans = list(zip([dict.fromkeys(topic_ends, 0), *cuts], [*cuts, topic_ends], strict=True))
    for _ in range(VECTORS):
        begin, end = rng.choice(spans)
        yield {p: rng.randint(begin[p], end[p]) for p in topic_ends}
        yield {p: rng.randint(0, end) for p, end in topic_ends.items()}


def lived(pair: Flipped) -> None:
    """Two flips lie behind, the third epoch goes on; its mirror has copied everything."""
    pair.epochs(2, 400)
    with pair.crew() as crew:
        pair.write(400)
        pair.write(130, transactional=True)
        pair.drain(crew)


@pytest.mark.parametrize("counts", [pytest.param((6, 24), marks=pytest.mark.slow), (6, 9)])
def test_positions_and_duplicates_across_three_epochs_equal_a_full_scan(story: MakeStory, counts: tuple[int, int]) -> None:
    pair = story(*counts)
    lived(pair)
    both = twins(pair)
    ends = {topic.name: pair.settled(topic) for topic in (pair.source, pair.target)}
    for direction, given, other in ((TO_TARGET, pair.source, pair.target), (TO_SOURCE, pair.target, pair.source)):
        turned = [(each.source, each.target) if direction == TO_TARGET else (each.target, each.source) for each in both]
        for vector in vectors(pair, ends[given.name], given.name):
            told = translate(pair, direction, vector)
            first, again = scanned(turned, vector, ends[other.name])
            assert told.final
            assert dict(told.positions) == first, (direction, vector)
            assert dict(told.duplicates or {}) == again, (direction, vector)
        for cut in pair.cuts:
            told = translate(pair, direction, cut.of(given.name, pair.source.name))
            assert told.duplicates_total == 0, "at a cut both ways are exact"


def test_right_after_a_flip_a_position_is_translated_before_the_new_mirror_has_moved(story: MakeStory) -> None:
    pair = story(2, 4)
    pair.epochs(1)
    cut = pair.cuts[-1]
    assert translate(pair, TO_TARGET, cut.source).positions == cut.target
    assert translate(pair, TO_SOURCE, cut.target).positions == cut.source
    pair.write(50)
    ahead = translate(pair, TO_SOURCE, pair.settled(pair.target))
    assert (ahead.final, set(ahead.behind)) == (False, {q for q, end in pair.ends(pair.target).items() if end > cut.target[q]})


@pytest.mark.parametrize("shift", [-1, 1])
def test_an_answer_across_epochs_that_is_off_by_one_record_is_noticed(story: MakeStory, shift: int) -> None:
    """Planted: the composition picks a neighbour of the record, in an ended epoch and in the present one."""
    pair = story(2, 4)
    lived(pair)
    ends = pair.settled(pair.source)
    begun = pair.cuts[-1].source
    for vector in ({p: end // 5 for p, end in pair.cuts[0].source.items()}, {p: (begun[p] + end) // 2 for p, end in ends.items()}):
        told = translate(pair, TO_TARGET, vector)
        wrong = told.model_copy(update={"positions": {**told.positions, 3: told.positions[3] + shift}})
        with pytest.raises(TranslationsDiffer) as raised:
            require_equal(pair, TO_TARGET, wrong)
        assert list(raised.value.fields["differences"]) == ["3"]


def test_an_epoch_left_out_or_another_end_is_noticed(story: MakeStory) -> None:
    pair = story(2, 4)
    lived(pair)
    told = translate(pair, TO_TARGET, dict.fromkeys(range(2), 0))
    with pytest.raises(TranslationsDiffer, match="other epochs"):
        require_equal(pair, TO_TARGET, told.model_copy(update={"epochs": told.epochs[1:]}))
    moved = told.epochs[0].model_copy(update={"ends": {**told.epochs[0].ends, 0: 1}})
    with pytest.raises(TranslationsDiffer, match="another end"):
        require_equal(pair, TO_TARGET, told.model_copy(update={"epochs": (moved, *told.epochs[1:])}))
    skipped = told.epochs[0].model_copy(update={"begins": {**told.epochs[0].begins, 0: 1}})
    with pytest.raises(TranslationsDiffer, match="left out"):
        require_equal(pair, TO_TARGET, told.model_copy(update={"epochs": (skipped, *told.epochs[1:])}))


def test_a_position_from_before_all_given_epochs_cannot_be_moved_and_epochs_must_meet(story: MakeStory) -> None:
    pair = story(2, 4)
    lived(pair)
    epochs = epochs_of(pair)
    with pytest.raises(NotMovable):
        pair.control.translate(epochs[1:], TO_TARGET, dict.fromkeys(range(2), 0))
    with pytest.raises(NotMovable):
        pair.control.translate(epochs[2:], TO_TARGET, dict.fromkeys(range(2), 0))
    with pytest.raises(EngineRefusedInput, match="does not begin"):
        pair.control.translate([epochs[0], epochs[2]], TO_TARGET, dict.fromkeys(range(2), 0))
    with pytest.raises(EngineRefusedInput, match="direction"):
        pair.control.translate(epochs, "origin_to_follower", dict.fromkeys(range(2), 0))


def trim(pair: Flipped, topic: str, before: Vector) -> None:
    """Retention has removed what lies below."""
    admin = AdminClient({"bootstrap.servers": pair.bootstrap})
    for future in admin.delete_records([Where(topic, p, offset) for p, offset in before.items()]).values():
        future.result(60)


def test_what_retention_took_is_lost_only_where_no_other_topic_has_it(story: MakeStory) -> None:
    pair = story(2, 4)
    pair.epochs(1, 300)
    with pair.crew() as crew:
        pair.write(300)
        pair.drain(crew)
    begun, ends = pair.cuts[0].source, pair.settled(pair.source)
    both = twins(pair)
    trim(pair, pair.source.name, {0: begun[0] - 5, 1: begun[1] + 7})
    vector = {0: begun[0] - 30, 1: begun[1] - 30}
    with pytest.raises(PositionsExpired) as raised:
        translate(pair, TO_TARGET, vector)
    assert raised.value.fields["lost"] == {"1": 7}, "below the cut the target has everything; past it the source alone told what was read"
    told = pair.control.translate(epochs_of(pair), TO_TARGET, vector, acknowledge_lost=True)
    require_equal(pair, TO_TARGET, told)
    left = [(each.source, each.target) for each in both if each.source[0] == 0 or each.source[1] not in range(begun[1], begun[1] + 7)]
    assert dict(told.positions) == scanned(left, vector, pair.settled(pair.target))[0]
    assert translate(pair, TO_TARGET, ends).duplicates_total == 0


def test_an_ended_epoch_that_a_group_has_passed_is_not_asked_about(story: MakeStory) -> None:
    """Positions of a group that stands still expire: its lanes' ids are then not known any more."""
    pair = story(2, 4)
    lived(pair)
    expired = [each.model_copy(update={"group": f"expired-{each.epoch}"}) if each.epoch < 2 else each for each in epochs_of(pair)]
    begun = pair.cuts[-1].source
    told = pair.control.translate(expired, TO_TARGET, {p: offset + 20 for p, offset in begun.items()})
    require_equal(pair, TO_TARGET, told)
    with pytest.raises(NothingMirrored):
        pair.control.translate(expired, TO_TARGET, {p: offset - 20 for p, offset in begun.items()})
    ids = {each.epoch: each.producer_ids for each in translate(pair, TO_TARGET, dict.fromkeys(begun, 0)).epochs}
    start = {"start": dict.fromkeys(begun, 0), "follower_start": dict.fromkeys(range(4), 0)}
    known = [each.model_copy(update={"producer_ids": ids[each.epoch], **(start if each.epoch == 0 else {})}) for each in expired]
    assert pair.control.translate(known, TO_TARGET, dict.fromkeys(begun, 0)).final
