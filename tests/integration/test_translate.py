"""Translations over what the real mirror wrote, against a full scan of both topics, and every reason to refuse one."""

import csv
import io
import json
import random
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Where

from cutover import wiring
from cutover.cli import main
from cutover.connection import Connection
from cutover.engine import translating
from cutover.engine.configuration import Start
from cutover.engine.control import Control, Direction, Translation
from cutover.engine.mirroring import Wanted as Copied
from cutover.engine.mirroring import prepare
from cutover.engine.process import EngineProcess
from cutover.engine.translating import Wanted
from cutover.errors import NothingMirrored, NotMovable, PositionsExpired, PositionUnusable, TranslationsDiffer, Violation
from cutover.kafka.admin import KafkaCluster
from cutover.model import Committed, Isolation, Record, TopicPartition
from tests.conftest import MakeTopic, WaitUntil

pytestmark = pytest.mark.kafka

PATIENCE_SECONDS = 150.0
VECTORS = 5
PROVENANCE = struct.Struct(">B8sIIQ")
KEYS = 300
TO_FOLLOWER: Direction = "origin_to_follower"
TO_ORIGIN: Direction = "follower_to_origin"


@dataclass
class Pair:
    """Two topics with the real mirror between them, started and stopped at will."""

    bootstrap: str
    origin: str
    follower: str
    cluster: KafkaCluster
    control: Control
    wait_until: WaitUntil
    lanes: int
    start: Start = field(default_factory=Start)
    produced: int = 0

    @cached_property
    def connection(self) -> Connection:
        return Connection.load(bootstrap=self.bootstrap)

    def produce(self, count: int) -> None:
        """Records by key: plain ones, some of transactions that commit, some of transactions that are aborted."""
        plain = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 2})
        named = {"transactional.id": f"app-{uuid.uuid4().hex}", "partitioner": "murmur2_random"}
        transactional = Producer({"bootstrap.servers": self.bootstrap, **named})
        transactional.init_transactions(PATIENCE_SECONDS)
        for block in range(0, count, 50):
            transactional.begin_transaction()
            for number in range(block, min(block + 50, count)):
                writer = transactional if number % 5 == 0 else plain
                writer.produce(self.origin, b"%d" % number, b"key-%d" % (number * 7 % KEYS))
            if block % 150 == 0:
                transactional.flush(PATIENCE_SECONDS)  # the broker refuses to abort what it has not seen begin
                transactional.abort_transaction(PATIENCE_SECONDS)
            else:
                transactional.commit_transaction(PATIENCE_SECONDS)
        assert plain.flush(PATIENCE_SECONDS) == 0
        self.wait_until(lambda: self.ends(self.origin) == self.ends(self.origin, Isolation.READ_UNCOMMITTED), 30, "markers are written")

    def mirror(self) -> None:
        """Copy what is there, then stop."""
        prepared = prepare(
            self.cluster,
            self.connection,
            Copied(self.origin, self.follower, "murmur2", lanes=self.lanes, start=self.start, allow_shrink=True),
        )
        with EngineProcess.start("mirror", prepared.configuration) as worker:
            self.wait_until(lambda: self.copied(prepared.run.group) == self.ends(self.origin), PATIENCE_SECONDS, worker.stderr_tail())
        self.wait_until(self.is_settled, PATIENCE_SECONDS, "positions are told before the last records can be read")

    def is_settled(self) -> bool:
        """No record of the follower waits for the end of its transaction."""
        return self.ends(self.follower) == self.ends(self.follower, Isolation.READ_UNCOMMITTED)

    def copied(self, group: str) -> dict[int, int]:
        told = self.cluster.committed([group], self.partitions(self.origin))[group]
        return {where.partition: each.offset for where, each in told.items() if isinstance(each, Committed)}

    def partitions(self, topic: str) -> tuple[TopicPartition, ...]:
        return self.cluster.describe_topics([topic])[topic].topic_partitions()

    def ends(self, topic: str, isolation: Isolation = Isolation.READ_COMMITTED) -> dict[int, int]:
        return {where.partition: end for where, end in self.cluster.end_offsets(self.partitions(topic), isolation).items()}

    def translate(self, direction: Direction, positions: Mapping[int, int] | str, *, verify: bool = True, **wanted: object) -> Translation:
        asked = Wanted(self.origin, self.follower, direction, **wanted)  # type: ignore[arg-type]
        reader = wiring.reader(self.connection)
        return translating.translate(self.control, self.cluster, reader, asked, positions, verify=verify).translation

    def copies(self) -> dict[int, list[tuple[int, int, int]]]:
        """The follower as it is: per partition (offset, origin partition, origin offset), read from end to end."""
        ends = self.ends(self.follower)
        found: dict[int, list[tuple[int, int, int]]] = {q: [] for q in ends}
        for record in self.read(self.follower, ends):
            _, _, _, p, offset = PROVENANCE.unpack(record.headers[-1][1] or b"")
            found[record.partition].append((record.offset, p, offset))
        return found

    def read(self, topic: str, ends: Mapping[int, int]) -> Iterator[Record]:
        begins = self.cluster.begin_offsets(self.partitions(topic))
        return wiring.reader(self.connection).read({where: (begin, ends[where.partition]) for where, begin in begins.items()})


MakePair = Callable[..., Pair]


@pytest.fixture
def pair(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil) -> Iterator[MakePair]:
    connection = Connection.load(bootstrap=bootstrap)
    with wiring.cluster(connection) as cluster, wiring.control(connection, cluster) as control:

        def make(origins: int, followers: int, **more: object) -> Pair:
            origin, follower = topic(origins, name="s"), topic(followers, {"max.message.bytes": "2000000"}, name="t")
            return Pair(bootstrap, origin, follower, cluster, control, wait_until, min(3, origins), **more)  # type: ignore[arg-type]

        yield make


def vectors(ends: Mapping[int, int], seed: int) -> Iterator[dict[int, int]]:
    rng = random.Random(seed)
    yield dict.fromkeys(ends, 0)
    yield dict(ends)
    for _ in range(VECTORS):
        yield {p: rng.randrange(end + 1) for p, end in ends.items()}


@pytest.mark.parametrize(("origins", "followers"), [(6, 24), (6, 9), (12, 4), (1, 3)])
def test_both_derivations_and_the_duplicates_equal_a_full_scan(pair: MakePair, origins: int, followers: int) -> None:
    made = pair(origins, followers)
    for _ in range(3):
        made.produce(1000)
        made.mirror()
    copies = made.copies()
    for unread in vectors(made.ends(made.origin), origins):
        told = made.translate(TO_FOLLOWER, unread)
        assert told.final
        for q, log in copies.items():
            first = next((at for at, p, offset in log if offset >= unread[p]), told.ends[q])
            assert told.positions[q] == first
            again = sum(at >= first and offset < unread[p] for at, p, offset in log)
            assert (told.duplicates or {})[q] == again
        if followers % origins == 0:
            assert told.duplicates_total == 0
    for position in vectors(made.ends(made.follower), followers):
        told = made.translate(TO_ORIGIN, position)
        unreads = [(p, offset) for q, log in copies.items() for at, p, offset in log if at >= position[q]]
        reads = [(p, offset) for q, log in copies.items() for at, p, offset in log if at < position[q]]
        assert told.positions == {p: min((o for each, o in unreads if each == p), default=told.mirror[p]) for p in range(origins)}
        assert told.duplicates_total == sum(offset >= told.positions[p] for p, offset in reads)


def test_a_group_ahead_of_the_mirror_gets_no_final_answer_until_it_is_passed(pair: MakePair) -> None:
    made = pair(2, 4)
    made.produce(400)
    made.mirror()
    copied = made.ends(made.origin)
    made.produce(200)
    ahead = made.ends(made.origin)
    told = made.translate(TO_FOLLOWER, ahead)
    assert not told.final
    assert {p: (each.position, each.mirror) for p, each in told.behind.items()} == {p: (ahead[p], copied[p]) for p in ahead}
    assert told.positions == told.ends
    made.mirror()
    told = made.translate(TO_FOLLOWER, ahead)
    assert (told.final, told.duplicates_total) == (True, 0)


def test_a_marker_alone_between_mirror_and_group_does_not_count(pair: MakePair) -> None:
    made = pair(1, 2)
    made.produce(100)
    made.mirror()
    app = Producer({"bootstrap.servers": made.bootstrap, "transactional.id": f"app-{uuid.uuid4().hex}"})
    app.init_transactions(PATIENCE_SECONDS)
    before = made.ends(made.origin)
    for _ in range(2):
        app.begin_transaction()
        app.produce(made.origin, b"aborted", b"k")
        assert app.flush(PATIENCE_SECONDS) == 0
        app.abort_transaction(PATIENCE_SECONDS)
    made.wait_until(lambda: made.ends(made.origin)[0] >= before[0] + 4, PATIENCE_SECONDS, "both markers are there")
    told = made.translate(TO_FOLLOWER, made.ends(made.origin))
    assert (told.final, told.mirror) == (True, before)


def test_what_was_never_mirrored_cannot_be_moved(pair: MakePair) -> None:
    made = pair(2, 4, start=Start(kind="latest"))
    made.produce(200)
    started = made.ends(made.origin)
    made.mirror()
    made.produce(200)
    made.mirror()
    with pytest.raises(NotMovable) as raised:
        made.translate(TO_FOLLOWER, {0: 10, 1: started[1]})
    assert raised.value.fields["partitions"] == [0]
    assert made.translate(TO_FOLLOWER, started).final


def test_a_position_below_the_log_start_is_lost_records_that_somebody_must_accept(pair: MakePair) -> None:
    made = pair(2, 4, start=Start(kind="latest"))
    made.produce(200)
    end = made.ends(made.origin)
    made.mirror()
    trim(made, made.origin, end)
    with pytest.raises(PositionsExpired) as raised:
        made.translate(TO_FOLLOWER, {0: end[0] - 7, 1: end[1]})
    assert raised.value.fields["lost"] == {"0": 7}
    told = made.translate(TO_FOLLOWER, {0: end[0] - 7, 1: end[1]}, acknowledge_lost=True)
    assert (told.lost, told.given, told.final) == ({0: 7}, end, True)


def test_what_expired_on_the_origin_alone_is_still_read_on_the_follower(pair: MakePair) -> None:
    made = pair(1, 2)
    made.produce(200)
    made.mirror()
    trim(made, made.origin, {0: 100})
    told = made.translate(TO_FOLLOWER, {0: 50})
    assert told.lost == {}
    assert min(offset for q, log in made.copies().items() for at, _, offset in log if at >= told.positions[q]) >= 50


def trim(made: Pair, topic: str, before: Mapping[int, int]) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": made.bootstrap})
    for future in admin.delete_records([Where(topic, p, offset) for p, offset in before.items()]).values():
        future.result(PATIENCE_SECONDS)


def test_missing_positions_are_for_a_person_to_say(pair: MakePair) -> None:
    made = pair(2, 4)
    made.produce(200)
    made.mirror()
    with pytest.raises(PositionUnusable) as raised:
        made.translate(TO_FOLLOWER, {0: 5})
    assert raised.value.fields["partitions"] == [1]
    assert made.translate(TO_FOLLOWER, {0: 5}, missing="earliest").given == {0: 5, 1: 0}
    assert made.translate(TO_FOLLOWER, {0: 5}, missing="latest").given == {0: 5, 1: made.ends(made.origin)[1]}
    with pytest.raises(PositionUnusable):
        made.translate(TO_FOLLOWER, {0: 5, 1: 10**9})
    with pytest.raises(NothingMirrored):
        made.translate(TO_FOLLOWER, {0: 5, 1: 5}, run="another")


def test_an_open_transaction_on_the_follower_is_waited_for(pair: MakePair) -> None:
    made = pair(1, 2)
    made.produce(100)
    made.mirror()
    lane = Producer({"bootstrap.servers": made.bootstrap, "transactional.id": f"slow-{uuid.uuid4().hex}"})
    lane.init_transactions(PATIENCE_SECONDS)
    lane.begin_transaction()
    for q in range(2):
        lane.produce(made.follower, b"undecided", b"k", partition=q)
    assert lane.flush(PATIENCE_SECONDS) == 0
    high = made.ends(made.follower, Isolation.READ_UNCOMMITTED)
    answers: list[Translation] = []
    asking = threading.Thread(target=lambda: answers.append(made.translate(TO_FOLLOWER, made.ends(made.origin), verify=False)))
    asking.start()
    asking.join(0.5)
    assert asking.is_alive()
    lane.abort_transaction(PATIENCE_SECONDS)
    asking.join(PATIENCE_SECONDS)
    assert all(answers[0].ends[q] > end for q, end in high.items()), "the ends lie past the markers"


def forged(made: Pair, origin: int) -> list[tuple[str, bytes]]:
    run, _ = translating.prepare(made.cluster, Wanted(made.origin, made.follower))
    return [("_cutover", PROVENANCE.pack(1, bytes.fromhex(run.run_id), 0, 0, origin))]


def test_provenance_that_no_lane_wrote_is_not_a_counterpart_and_is_noticed(pair: MakePair) -> None:
    """Planted: an application re-produces a record with all its headers. The engine goes by who wrote it; the second
    derivation cannot, and says that the two differ."""
    made = pair(1, 2)
    made.produce(200)
    made.mirror()
    stranger = Producer({"bootstrap.servers": made.bootstrap})
    stranger.produce(made.follower, b"v", b"k", partition=0, headers=forged(made, 10**6))  # type: ignore[arg-type]
    assert stranger.flush(PATIENCE_SECONDS) == 0
    end = made.ends(made.origin)
    told = made.translate(TO_FOLLOWER, end, verify=False)
    assert told.positions == told.ends
    with pytest.raises(TranslationsDiffer) as raised:
        made.translate(TO_FOLLOWER, end)
    assert list(raised.value.fields["differences"]) == ["0"]
    assert raised.value.exit_code == Violation.exit_code == 5


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_wrong_answer_of_the_engine_is_noticed(pair: MakePair, shift: int) -> None:
    """Planted: an answer that is off by one record, and one called final too early."""
    made = pair(2, 4)
    made.produce(300)
    made.mirror()
    middle = {p: end // 2 for p, end in made.ends(made.origin).items()}
    told = made.translate(TO_FOLLOWER, middle)
    _, epoch = translating.prepare(made.cluster, Wanted(made.origin, made.follower))
    shifted = told.model_copy(update={"positions": {**told.positions, 3: told.positions[3] + shift}})
    reader = wiring.reader(made.connection)
    with pytest.raises(TranslationsDiffer):
        translating.require_equal(made.cluster, reader, [epoch], TO_FOLLOWER, shifted)
    early = told.model_copy(update={"mirror": {**told.mirror, 0: middle[0] - 20}})
    with pytest.raises(TranslationsDiffer, match="final"):
        translating.require_equal(made.cluster, reader, [epoch], TO_FOLLOWER, early)
    invented = told.model_copy(update={"ends": {**told.ends, 1: told.ends[1] + 1}})
    with pytest.raises(TranslationsDiffer, match="not there"):
        translating.require_equal(made.cluster, reader, [epoch], TO_FOLLOWER, invented)


def test_the_command_prints_what_kafkas_own_tool_reads(pair: MakePair) -> None:
    made = pair(2, 4)
    made.produce(300)
    made.mirror()
    group, half = f"group-{uuid.uuid4().hex}", {p: end // 2 for p, end in made.ends(made.origin).items()}
    with wiring.control(made.connection, made.cluster, transactional_id=group) as control:
        control.commit_positions(group, {TopicPartition(made.origin, p): Committed(offset) for p, offset in half.items()})
    common = ["translate", "--from", made.origin, "--to", made.follower, "--bootstrap", made.bootstrap]
    by_group = CliRunner().invoke(main, [*common, "--group", group, "--output", "json"])
    assert by_group.exit_code == 0, by_group.output
    document = json.loads(by_group.stdout)
    assert (document["final"], document["verified"], document["duplicates_total"]) == (True, True, 0)
    given = ",".join(f"{p}={offset}" for p, offset in half.items())
    as_csv = CliRunner().invoke(main, [*common, "--positions", given, "--output", "csv"])
    rows = list(csv.reader(io.StringIO(as_csv.stdout)))
    assert rows == [[made.follower, p, str(offset)] for p, offset in document["positions"].items()]
    as_text = CliRunner().invoke(main, [*common, "--positions", given])
    assert "none: exact" in as_text.stdout
    assert "twice, and equal" in as_text.stdout


def test_the_command_reads_a_file_and_says_by_its_exit_code_that_an_answer_is_not_final(pair: MakePair, tmp_path: object) -> None:
    made = pair(2, 4)
    made.produce(100)
    made.mirror()
    made.produce(100)
    file = f"{tmp_path}/positions.csv"
    with open(file, "w", encoding="utf-8") as lines:
        lines.writelines(f'"{made.origin}",{p},{end}\n' for p, end in made.ends(made.origin).items())
    common = ["translate", "--from", made.origin, "--to", made.follower, "--bootstrap", made.bootstrap]
    told = CliRunner().invoke(main, [*common, "--positions", file])
    assert told.exit_code == 3
    assert "not final: partition 0" in told.stderr
    assert CliRunner().invoke(main, [*common, "--positions", "nonsense"]).exit_code == 2
    assert CliRunner().invoke(main, common).exit_code == 2
