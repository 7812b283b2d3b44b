"""What a cluster shows of a topic, and the first plan written from it: it loads, and says what was seen and what cannot be."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import NotAuthorized, RangeExpired, UnknownTopic
from cutover.model import Committed, GroupType, Isolation, ProducerState, Record, TopicPartition, TransactionListing
from cutover.partitioners import fit, partition
from cutover.plan import Plan, understand
from cutover.plan.draft import Wanted, draft, scalar
from cutover.plan.lint import UNNAMED, notes
from cutover.plan.survey import SAMPLE_OFFSETS, SeenGroup, SeenProducer, Survey, suggested_partitions, survey
from cutover.twin import Twin

HERE = Wanted({"bootstrap": "localhost:9092"})


@dataclass
class Shop:
    """A cluster with a topic of six partitions, filled as a family of partitioners does."""

    twin: Twin = field(default_factory=Twin)
    topic: str = "orders"

    def __post_init__(self) -> None:
        self.twin.create_topic(self.topic, 6, replication_factor=1)

    def write(self, count: int, family: str = "murmur2", producer: tuple[int, int] | None = None) -> None:
        for number in range(count):
            key = b"key-%d" % (number % 200)
            self.twin.append(TopicPartition(self.topic, partition(family, key, 6)), key, b"v", producer=producer)

    def look(self) -> Survey:
        return survey(self.twin, self.twin, self.topic)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def loaded(text: str) -> Plan:
    return understand(text, "new.yaml", {}).plan


def test_groups_with_members_or_positions_on_the_topic_are_seen_and_no_others(shop: Shop) -> None:
    shop.twin.create_topic("other", 1, replication_factor=1)
    shop.write(60)
    shop.twin.join("readers", ["orders"], GroupType.CONSUMER)
    shop.twin.join("elsewhere", ["other"])
    shop.twin.join("cutover.orders.0", ["orders"])
    shop.twin.alter_offsets("stopped", {TopicPartition("orders", 0): Committed(3), TopicPartition("other", 0): Committed(1)})
    seen = {each.name: each for each in shop.look().groups}
    assert set(seen) == {"readers", "stopped"}
    assert (seen["readers"].type, seen["readers"].members, seen["readers"].positions) == (GroupType.CONSUMER, 1, 0)
    assert (seen["stopped"].members, seen["stopped"].positions) == (0, 1)
    end = shop.twin.end_offsets([TopicPartition("orders", 0)], Isolation.READ_COMMITTED)[TopicPartition("orders", 0)]
    assert (seen["readers"].lag_offsets, seen["stopped"].lag_offsets) == (None, end - 3)


def test_a_share_group_is_told_and_not_planned(shop: Shop) -> None:
    shop.twin.join("sharing", ["orders"], GroupType.SHARE)
    seen = shop.look()
    assert [(each.name, each.movable) for each in seen.groups] == [("sharing", False)]
    text = draft(seen, HERE)
    assert '#   "sharing" is a share group' in text
    assert loaded(text).groups == ()


def test_a_position_that_is_pending_is_one_whose_lag_is_not_known(shop: Shop) -> None:
    shop.write(60)
    writer = shop.twin.producer("app")
    writer.begin()
    writer.send_offsets("readers", {TopicPartition("orders", 0): Committed(3)})
    shop.twin.join("readers", ["orders"])
    [seen] = shop.look().groups
    assert (seen.positions, seen.lag_offsets) == (1, None)


def test_idempotent_producers_are_seen_with_their_transactional_ids(shop: Shop) -> None:
    shop.write(60, producer=(77, 0))
    writer = shop.twin.producer("billing")
    writer.begin()
    writer.produce(TopicPartition("orders", 0), b"k", b"v")
    writer.commit()
    seen = shop.look().producers
    assert seen is not None
    assert {(each.transactional_id, each.partitions) for each in seen} == {("billing", 1), ("", 6)}
    text = draft(shop.look(), HERE)
    assert 'transactional id "billing", on 1 partition, last write 20' in text
    assert "producer id 77, on 6 partitions, last write 20" in text


@dataclass
class Closed(Twin):
    """A cluster that lets nobody ask who writes, or only not for transactions."""

    for_producers: bool = True

    def producers(
        self,
        partitions: Collection[TopicPartition],
        *,
        timeout_seconds: float | None = None,
    ) -> dict[TopicPartition, tuple[ProducerState, ...]]:
        if self.for_producers:
            raise NotAuthorized("no")
        return super().producers(partitions, timeout_seconds=timeout_seconds)

    def transactions(self, *, timeout_seconds: float | None = None) -> dict[str, TransactionListing]:  # noqa: ARG002
        raise NotAuthorized("no")


def test_who_writes_may_be_closed_to_this_principal() -> None:
    shop = Shop(Closed())
    assert shop.look().producers is None
    assert "This principal may not ask for producers" in draft(shop.look(), HERE)


def test_transactional_ids_may_be_closed_to_this_principal() -> None:
    shop = Shop(Closed(for_producers=False))
    shop.write(6, producer=(77, 0))
    assert [each.transactional_id for each in shop.look().producers or ()] == [""]


@pytest.mark.parametrize("family", ["murmur2", "crc32", "fnv1a"])
def test_the_partitioner_is_the_one_that_placed_the_keys(shop: Shop, family: str) -> None:
    shop.write(600, family)
    text = draft(shop.look(), HERE)
    assert loaded(text).partitioner == family
    assert f"partitioner: {family}  # 100 % of the keys sit where it puts them" in text
    assert "Measured on 600 records" in text


def test_two_families_on_a_topic_are_told_with_the_share_of_the_first(shop: Shop) -> None:
    shop.write(200)
    for number in range(120):
        key = b"other-%d" % number
        shop.twin.append(TopicPartition("orders", partition("crc32", key, 6)), key, b"v")
    text = draft(shop.look(), HERE)
    assert "several families write this topic: murmur2 and crc32" in text
    assert "Keys that sit elsewhere have no order promise" in text
    assert "100 %" not in text
    assert loaded(text).partitioner == "murmur2"


def test_without_keys_nothing_is_measured_and_the_plan_says_so(shop: Shop) -> None:
    for number in range(20):
        shop.twin.append(TopicPartition("orders", number % 6), None, b"v")
    text = draft(shop.look(), HERE)
    assert "NOT MEASURED" in text
    assert "20 of them without a key" in text
    assert loaded(text).partitioner == "murmur2"


def test_an_empty_topic_gives_a_plan_too(shop: Shop) -> None:
    assert loaded(draft(shop.look(), HERE)).target.partitions == 24


def test_no_more_than_the_newest_records_are_sampled(shop: Shop) -> None:
    for _ in range(SAMPLE_OFFSETS + 500):
        shop.twin.append(TopicPartition("orders", 0), b"k", b"v")
    assert shop.look().keys.records == SAMPLE_OFFSETS


def test_retention_may_pass_the_sample_once_while_it_is_read(shop: Shop) -> None:
    shop.write(60)
    failures = iter([RangeExpired("gone")])

    class Trimmed:
        def read(
            self,
            ranges: Mapping[TopicPartition, tuple[int, int]],
            isolation: Isolation = Isolation.READ_COMMITTED,
            *,
            timeout_seconds: float | None = None,
        ) -> Iterator[Record]:
            for failure in failures:
                raise failure
            return shop.twin.read(ranges, isolation, timeout_seconds=timeout_seconds)

    assert survey(shop.twin, Trimmed(), "orders").keys.records == 60


def test_a_topic_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownTopic):
        survey(Twin(), Twin(), "orders")


@pytest.mark.parametrize(
    ("today", "then"), [(1, 12), (2, 12), (3, 12), (4, 16), (5, 20), (6, 24), (50, 200), (99, 396), (100, 200), (500, 1000)]
)
def test_the_suggested_partitions_are_a_multiple_with_room(today: int, then: int) -> None:
    assert suggested_partitions(today) == then


@given(st.integers(1, 100_000))
def test_the_suggested_partitions_are_always_a_multiple(today: int) -> None:
    assert suggested_partitions(today) % today == 0
    assert suggested_partitions(today) >= 2 * today


def with_groups(*groups: SeenGroup) -> Survey:
    return Survey("orders", 6, 3, groups, (), fit([], 6))


READERS = SeenGroup("readers", GroupType.CLASSIC, 2, ("a", "b"), 6, 10)


def test_a_first_plan_begins_with_what_promises_least() -> None:
    found = loaded(draft(with_groups(READERS), HERE))
    [group] = found.groups
    assert (group.name, group.owner, group.switch_kind, group.hand_off, group.max_duplicates) == (
        "readers",
        UNNAMED,
        "manual",
        "at_least_once",
        0,
    )
    assert (found.cutover, found.target.topic, found.source.topic) == ("orders-6-to-24", "orders.v2", "orders")
    assert [each.path[0] for each in notes(found)] == ["producers", "groups", "groups"]


@pytest.mark.parametrize(
    ("wanted", "line", "shrinks"),
    [
        (Wanted(HERE.cluster), "24 is 4 times as many, so every translated position is exact", False),
        (Wanted(HERE.cluster, "t", 9), "6 does not divide 9: positions are exact at a cut only", False),
        (Wanted(HERE.cluster, "t", 3), "allow_shrink: true", True),
        (Wanted(HERE.cluster, "t", 12), "It gets 3 replicas", False),
    ],
)
def test_a_first_plan_says_what_its_partition_count_means(wanted: Wanted, line: str, *, shrinks: bool) -> None:
    text = draft(with_groups(), wanted)
    assert line in text
    assert loaded(text).allow_shrink is shrinks
    assert loaded(text).target.partitions == (wanted.partitions or 24)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (replace(READERS, client_ids=("app-StreamThread-1",)), "looks like Kafka Streams"),
        (replace(READERS, name="connect-sink"), "looks like a Connect sink"),
        (replace(READERS, members=0), "no member now"),
        (replace(READERS, lag_offsets=None), "lag not known"),
        (replace(READERS, client_ids=tuple(f"c{n}" for n in range(20))), '"c9", ...)'),
        (READERS, 'classic group, 2 members ("a", "b"), positions on 6 partitions, 10 offsets behind'),
        (replace(READERS, type=GroupType.STREAMS), '"readers" is a streams group'),
        (replace(READERS, name="${x}"), '"${x}" reads the topic and cannot be named in a plan'),
        (replace(READERS, name="a\nb"), '"a\\nb" reads the topic and cannot be named in a plan'),
    ],
)
def test_what_is_seen_of_a_group_stands_beside_it(group: SeenGroup, words: str) -> None:
    text = draft(with_groups(group), HERE)
    assert words in text
    loaded(text)


def test_of_many_producers_the_newest_are_told() -> None:
    many = tuple(SeenProducer(number, "", 1, -1) for number in range(12))
    text = draft(replace(with_groups(), producers=many), HERE)
    assert "producer id 9, on 1 partition, last write not known" in text
    assert "producer id 10" not in text
    assert "and 2 more" in text


@given(st.text(min_size=1, max_size=40), st.lists(st.text(max_size=20), max_size=3))
def test_whatever_a_group_and_its_clients_are_called_the_first_plan_loads(name: str, clients: list[str]) -> None:
    found = loaded(draft(with_groups(replace(READERS, name=name, client_ids=tuple(clients))), HERE))
    assert {group.name for group in found.groups} <= {name}


@pytest.mark.parametrize("text", ["plain", "a.b-c_d", "true", "null", "12", "a: b", "#x", "~", '"', "é", "😀", "yes", "-"])
def test_a_scalar_reads_back_as_the_same_text(text: str) -> None:
    found = understand(draft(with_groups(replace(READERS, name=text)), HERE), "p.yaml", {}).plan
    assert [group.name for group in found.groups] == [text]
    assert scalar("plain") == "plain"


def test_a_profile_names_the_cluster_as_well() -> None:
    assert loaded(draft(with_groups(), Wanted({"profile": "staging"}))).cluster.profile == "staging"
