"""The gate is open exactly when the control log or the cluster says so; every other state is closed with its reason."""

import json
import threading
from collections.abc import Callable, Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from cutover.errors import ControlUnreadable, NoBroker, PortTaken
from cutover.marks import Mark
from cutover.model import Committed, GroupType, TopicPartition
from cutover.protocol import Close, Message, Pair, Read, Side, Topic
from cutover.switches.gate import Answer, Asked, Gate
from cutover.switches.readiness import listen
from cutover.twin import Twin

PAIR = "0123456789abcdef"
THERE = [TopicPartition("t", q) for q in range(2)]
BOTH = pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])


class Bench:
    """A pair in a twin, its control log, and the gate of group g on t."""

    def __init__(self) -> None:
        self.twin = Twin(seed=3)
        s = self.twin.create_topic("s", 1, replication_factor=1)
        t = self.twin.create_topic("t", 2, replication_factor=1)
        self.log: list[bytes] = []
        self.heard = 0
        self.gate = Gate(self.twin, self.hear, Asked("g", "t", "orders"))
        self.pair = Pair(
            pair=PAIR,
            run="orders",
            source=Topic(name="s", id=s.topic_id, partitions=1),
            target=Topic(name="t", id=t.topic_id, partitions=2),
            partitioner="murmur2",
        )
        self.say(self.pair)

    def say(self, *messages: Message) -> None:
        self.log += [each.encoded() for each in messages]

    def hear(self) -> Iterator[tuple[int, bytes]]:
        begin, self.heard = self.heard, len(self.log)
        return iter([(begin + number, each) for number, each in enumerate(self.log[begin:])])

    def primed(self, *, final: bool = True, run: str = PAIR, stay: int = 0, left_out: int = 0) -> None:
        mark = str(Mark(run, stay, 7, final=final))
        self.twin.group("g").write({where: Committed(5, mark) for where in THERE[left_out:]}, self.twin.next_place())

    def answer(self) -> Answer:
        return self.gate.answer()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_opens_when_nobody_is_left_and_every_position_is_final(bench: Bench) -> None:
    bench.primed()
    assert bench.answer().open


@BOTH
def test_it_is_closed_while_a_member_is_left_and_names_it(bench: Bench, kind: GroupType) -> None:
    bench.primed()
    member = bench.twin.join("g", ["s"], kind)
    assert bench.answer() == Answer(False, "twin at /127.0.0.1 still reads s")
    member.close()
    assert bench.answer().open


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bench: bench.primed(final=False),
        lambda bench: bench.primed(left_out=1),
        lambda bench: bench.primed(run="f" * 16),
        lambda bench: bench.primed(stay=1),
        lambda bench: bench.twin.alter_offsets("g", {where: Committed(5) for where in THERE}),
        lambda _: None,
    ],
)
def test_it_is_closed_while_a_position_is_not_the_final_one_of_this_stay(bench: Bench, spoil: Callable[[Bench], None]) -> None:
    spoil(bench)
    answer = bench.answer()
    assert not answer.open
    assert "not written yet" in answer.why


def test_it_stays_open_for_later_members_once_the_log_says_that_the_group_has_moved(bench: Bench) -> None:
    bench.say(Read(pair=PAIR, group="g", term=1, side=Side.TARGET))
    bench.twin.join("g", ["t"], GroupType.CLASSIC).commit({THERE[0]: Committed(9)})
    assert bench.answer().open


def test_final_marks_of_an_earlier_stay_do_not_open_it(bench: Bench) -> None:
    bench.primed()
    assert bench.answer().open
    bench.say(*(Read(pair=PAIR, group="g", term=term, side=side) for term, side in ((1, Side.TARGET), (2, Side.SOURCE))))
    assert not bench.answer().open
    bench.primed(stay=2)
    assert bench.answer().open


def test_it_works_the_other_way_too(bench: Bench) -> None:
    bench.say(Read(pair=PAIR, group="g", term=1, side=Side.TARGET))
    back = Gate(bench.twin, bench.hear, Asked("g", "s", "orders"))
    bench.twin.group("g").write({TopicPartition("s", 0): Committed(1, str(Mark(PAIR, 1, 1, final=True)))}, bench.twin.next_place())
    member = bench.twin.join("g", ["t"], GroupType.CLASSIC)
    assert not back.answer().open
    member.close()
    assert back.answer().open


def test_a_topic_that_was_made_again_keeps_it_closed(bench: Bench) -> None:
    bench.twin.delete_topic("t", bench.pair.target.id)
    bench.twin.create_topic("t", 2, replication_factor=1)
    bench.primed()
    assert "another topic" in bench.answer().why


@pytest.mark.parametrize("asked", [Asked("g", "t", "another-run"), Asked("g", "another-topic", "orders")])
def test_what_no_open_pair_knows_keeps_it_closed(bench: Bench, asked: Asked) -> None:
    bench.primed()
    assert "knows no open pair" in Gate(bench.twin, bench.hear, asked).answer().why


def test_a_closed_pair_keeps_it_closed(bench: Bench) -> None:
    bench.primed()
    bench.say(Close(pair=PAIR))
    assert not bench.answer().open


def test_a_record_that_nobody_can_read_ends_it(bench: Bench) -> None:
    bench.log.append(b"not ours")
    with pytest.raises(ControlUnreadable):
        bench.answer()


# Over HTTP.


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[], Answer]], str]]:
    servers = []

    def serve(ask: Callable[[], Answer]) -> str:
        server = listen("127.0.0.1", 0, ask)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def get(url: str) -> tuple[int, dict[str, object]]:
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def no_broker() -> Answer:
    raise NoBroker("no broker answers")


@pytest.mark.parametrize(
    ("ask", "status", "why"),
    [
        (lambda: Answer(True, "open"), 200, "open"),
        (lambda: Answer(False, "not yet"), 503, "not yet"),
        (no_broker, 503, "no broker answers"),
    ],
)
def test_readiness_is_a_status_with_a_reason(
    serving: Callable[[Callable[[], Answer]], str], ask: Callable[[], Answer], status: int, why: str
) -> None:
    assert get(serving(ask) + "/ready") == (status, {"schema_version": 1, "ready": status == 200, "why": why})


def test_nothing_else_is_served_and_the_cluster_is_not_asked_for_each_probe(serving: Callable[[Callable[[], Answer]], str]) -> None:
    asked: list[int] = []

    def ask() -> Answer:
        asked.append(1)
        return Answer(True, "open")

    url = serving(ask)
    assert get(url + "/metrics")[0] == 404
    assert [get(url + "/ready?from=kubelet")[0] for _ in range(5)] == [200] * 5
    assert 1 <= len(asked) < 5


def test_a_port_that_is_taken_is_refused() -> None:
    server = listen("127.0.0.1", 0, lambda: Answer(True, ""))
    with pytest.raises(PortTaken):
        listen("127.0.0.1", server.server_port, lambda: Answer(True, ""))
    server.server_close()
