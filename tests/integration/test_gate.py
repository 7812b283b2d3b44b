"""cutover gate on a real Kafka: what an init container waits for, and what a group finds that started when it said so."""

import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import AdminClient, NewTopic

from cutover.cli import main
from cutover.engine.control import Control
from cutover.kafka.embedded import EmbeddedKafka
from cutover.model import ControlRecord
from cutover.priming import Standing, Wishes
from cutover.protocol import CONTROL_TOPIC, Pair, Side, Topic
from tests.conftest import WaitUntil, usable
from tests.kafka_options import BRISK
from tests.primed import PrimedGroup, primed_group, python

pytestmark = pytest.mark.kafka

PATIENCE_SECONDS = 150.0
MEMBERS = 2


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[str]:
    """A cluster with a control topic of its own."""
    with EmbeddedKafka(config=BRISK) as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture
def made(own_kafka: str, wait_until: WaitUntil) -> Iterator[PrimedGroup]:
    """A group on S, whose pair the control log knows."""
    admin = AdminClient({"bootstrap.servers": own_kafka})

    def make_topic(partitions: int, config: Mapping[str, str] | None = None, name: str = "topic") -> str:
        unique = name if name == CONTROL_TOPIC else f"{name}-{uuid.uuid4().hex[:8]}"
        admin.create_topics([NewTopic(unique, partitions, config=dict(config or {}))])[unique].result(30)
        wait_until(lambda: usable(admin, unique, partitions), 30, f"{unique} answers")
        return unique

    if CONTROL_TOPIC not in admin.list_topics(timeout=10).topics:
        make_topic(1, name=CONTROL_TOPIC)
    with primed_group(own_kafka, python("classic"), make_topic) as group:
        group.prime(Wishes())
        open_pair(group)
        for _ in range(MEMBERS):
            group.join(Side.SOURCE)
        wait_until(lambda: group.holders(group.source) == MEMBERS, PATIENCE_SECONDS, "every member has partitions of S")
        wait_until(group.has_begun, PATIENCE_SECONDS, "it has committed on every partition")
        group.judge_from_now()
        group.tick_in_a_loop()
        wait_until(lambda: group.is_at(Standing.READY), PATIENCE_SECONDS, "ready")
        yield group


def open_pair(group: PrimedGroup) -> None:
    described = group.cluster.describe_topics([group.source, group.target])
    source, target = (
        Topic(name=each.name, id=each.topic_id, partitions=len(each.partitions))
        for each in (described[group.source], described[group.target])
    )
    told = Pair(pair=group.primer.route.run, run=group.group, source=source, target=target, partitioner="murmur2")
    with Control(group.connection, group.cluster, transactional_id=f"{group.group}.driver") as hand:
        hand.write_control(CONTROL_TOPIC, [ControlRecord(b"", told.encoded())])


def options(group: PrimedGroup) -> list[str]:
    return ["--group", group.group, "--topic", group.target, "--run", group.group, "--bootstrap", group.bootstrap]


def wait_at_the_gate(group: PrimedGroup, seconds: float) -> Result:
    return CliRunner().invoke(main, ["gate", "wait", *options(group), "--timeout", str(seconds)])


def test_the_gate_keeps_new_members_out_until_the_last_old_one_is_gone(made: PrimedGroup, wait_until: WaitUntil) -> None:
    for left in range(MEMBERS, 0, -1):
        refused = wait_at_the_gate(made, 0.5)
        assert refused.exit_code == 3, refused.output
        assert f"still reads {made.source}" in refused.output
        made.members[MEMBERS - left].stop()
    opened = wait_at_the_gate(made, PATIENCE_SECONDS)
    assert (opened.exit_code, "nobody is left" in opened.output) == (0, True)
    for _ in range(MEMBERS):
        made.join(Side.TARGET)
    wait_until(lambda: made.is_at(Standing.STARTED), PATIENCE_SECONDS, "members are seen on T")
    made.stop_writing()
    wait_until(made.drained, PATIENCE_SECONDS, "everything written was read")
    judged = made.judge()
    assert (judged.lost, judged.again, judged.disordered) == (0, 0, 0)


@pytest.mark.slow
def test_readiness_turns_when_the_last_member_has_gone(made: PrimedGroup, wait_until: WaitUntil) -> None:
    words = [sys.executable, "-m", "cutover", "gate", "serve", *options(made), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert probe(url) == 503
        for member in made.members:
            member.stop()
        wait_until(lambda: probe(url) == 200, PATIENCE_SECONDS, "ready")
        server.terminate()
        assert server.wait(PATIENCE_SECONDS) == 143


def probe(url: str) -> int:
    try:
        with urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def test_a_run_that_nobody_knows_is_not_met(made: PrimedGroup) -> None:
    words = ["gate", "wait", "--group", "g", "--topic", made.target, "--run", "nobody", "--bootstrap", made.bootstrap, "--timeout", "0"]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 3
    assert "knows no open pair" in refused.output
