"""`cutover mirror` against real Kafka: copies end to end, and refuses bad input in plain words having changed nothing."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cutover.kafka.embedded import EmbeddedKafka, Security
from cutover.partitioners import partition
from tests.conftest import SLOW_MACHINE, MakeTopic, WaitUntil, usable

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("mirror")]

ROOM = {"max.message.bytes": "1100000", "retention.ms": "-1"}
Records = dict[bytes, list[bytes]]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    runtime = tmp_path_factory.mktemp("m")
    runtime.chmod(0o700)
    built = Path(__file__).parents[2] / "cutover/engine/bin/cutover-engine"
    if not os.environ.get("CUTOVER_ENGINE") and not built.exists():
        pytest.skip("no engine is built: run make cutover/engine/bin/cutover-engine, or set CUTOVER_ENGINE")
    return {**os.environ, "CUTOVER_RUNTIME_DIR": str(runtime), "COLUMNS": "200"}


@pytest.fixture
def spawn(environment: dict[str, str], bootstrap: str) -> Iterator[Spawn]:
    """Starts `cutover mirror ...`; what still runs at the end is asked to stop."""
    started: list[subprocess.Popen[str]] = []

    def spawn_one(*arguments: str, **env: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", "from cutover.cli import main; main()", "mirror", *arguments]
        if arguments[0] not in {"rate", "status"} and "--bootstrap" not in arguments:
            command += ["--bootstrap", bootstrap]
        started.append(
            subprocess.Popen(command, env={**environment, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        )
        return started[-1]

    yield spawn_one
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def run(spawn: Spawn) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `cutover mirror ...` to its end."""

    def run_one(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        process = spawn(*arguments, **env)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_one


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def fill(bootstrap: str, topic: str, count: int, *, first: int = 0, partitions: int = 6) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number in range(first, first + count):
        key = b"key-%d" % (number % 97)
        producer.produce(topic, str(number).encode(), key, partition=partition("murmur2", key, partitions), headers=[("n", str(number))])
        producer.poll(0)
    assert producer.flush(30) == 0


def read(bootstrap: str, topic: str, partitions: int) -> tuple[Records, dict[bytes, set[int]]]:
    """Values per key in order, and the partitions each key was seen in; read_committed, to the ends of now."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_committed", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    values: Records = defaultdict(list)
    places: dict[bytes, set[int]] = defaultdict(set)
    ended: set[int] = set()
    deadline = time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, "the topic could not be read to its end"
        message = consumer.poll(1)
        if message is None:
            continue
        at, key, value = message.partition(), message.key(), message.value()
        if message.error() is not None:
            ended.add(at or 0)
        elif isinstance(key, bytes) and isinstance(value, bytes):
            values[key].append(value)
            places[key].add(at or 0)
    consumer.close()
    return values, places


def copy_arguments(origin: str, follower: str, *more: str) -> list[str]:
    return ["--from", origin, "--to", follower, "--partitioner", "murmur2", *more]


def events(text: str, name: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, text.splitlines()) if each["event"] == name]


def committed_sum(admin: AdminClient, group: str) -> int:
    from confluent_kafka import ConsumerGroupTopicPartitions

    told = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(60)
    return sum(max(0, each.offset) for each in told.topic_partitions or [])


def test_a_topic_is_copied_by_key_once_and_in_order(run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 5000)
    done = run(*copy_arguments(origin, follower, "--until-caught-up", "--workers", "2"))
    assert done.returncode == 0, done.stderr
    assert "caught up; 5,000 of 5,000 offsets copied and committed" in done.stdout
    assert f"next     cutover audit --from {origin} --to {follower}" in done.stdout
    source, _ = read(bootstrap, origin, 6)
    target, places = read(bootstrap, follower, 24)
    assert target == source
    assert places == {key: {partition("murmur2", key, 24)} for key in source}


def test_a_second_run_goes_on_where_the_first_stopped(run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 1000)
    assert run(*copy_arguments(origin, follower, "--until-caught-up", "--lanes", "3")).returncode == 0
    fill(bootstrap, origin, 500, first=1000)
    again = run(*copy_arguments(origin, follower, "--until-caught-up", "--output", "ndjson"))
    assert again.returncode == 0, again.stderr
    prepared = events(again.stdout, "prepared")[0]
    assert (prepared["resumed"], prepared["lanes"]) == (True, 3)
    assert events(again.stdout, "ended")[0]["status"]["records"] == 500
    assert read(bootstrap, follower, 24)[0] == read(bootstrap, origin, 6)[0]


def test_an_empty_topic_is_caught_up_at_once(run: Run, topic: MakeTopic) -> None:
    done = run(*copy_arguments(topic(2), topic(4, ROOM), "--until-caught-up"))
    assert done.returncode == 0, done.stderr
    assert "0 of 0 offsets" in done.stdout


def test_latest_copies_only_what_comes_later(spawn: Spawn, topic: MakeTopic, bootstrap: str, wait_until: WaitUntil) -> None:
    origin, follower = topic(2), topic(4, ROOM)
    fill(bootstrap, origin, 100, partitions=2)
    mirror = spawn(*copy_arguments(origin, follower, "--start", "latest", "--output", "ndjson"))
    wait_for_status(mirror, lambda status: status["ready"])
    fill(bootstrap, origin, 50, first=100, partitions=2)
    wait_until(lambda: sum(map(len, read(bootstrap, follower, 4)[0].values())) == 50, 30, "the new records are there")
    mirror.terminate()
    assert mirror.wait(60) == 143


def wait_for_status(mirror: "subprocess.Popen[str]", true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    assert mirror.stdout is not None
    seen: list[str] = []
    for line in mirror.stdout:
        seen.append(line)
        found: dict[str, Any] = json.loads(line)
        if found["event"] == "status" and true(found):
            return found
    raise AssertionError(f"the mirror ended first: {seen[-3:]} {mirror.stderr.read() if mirror.stderr else ''}")


def assert_no_more_status(mirror: "subprocess.Popen[str]") -> None:
    """Returns when nothing was said for two seconds: a mirror that runs says its status each second."""
    assert mirror.stdout is not None
    while select.select([mirror.stdout], [], [], 2)[0]:
        assert mirror.stdout.readline(), "the mirror has ended"


def test_ndjson_says_what_is_done_against_frozen_ends(run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 3000)
    done = run(*copy_arguments(origin, follower, "--until-caught-up", "--rate", "1500/s", "--output", "ndjson"))
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["schema_version"] == 1 for line in done.stdout.splitlines())
    shares = [each["share"] for each in events(done.stdout, "status")]
    assert len(shares) > 1, "3,000 records at 1,500/s take about two seconds"
    assert shares == sorted(shares)
    assert max(shares) <= 1
    assert any("the history are left" in reason for each in events(done.stdout, "status") for reason in each["not_ready_because"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)])
def test_a_signal_stops_at_a_safe_point_and_says_what_to_type_next(
    spawn: Spawn, run: Run, topic: MakeTopic, bootstrap: str, admin: AdminClient, wait_until: WaitUntil, number: signal.Signals, code: int
) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 4000)
    mirror = spawn(*copy_arguments(origin, follower, "--rate", "500/s", "--lanes", "2"))
    group = f"cutover.{origin}--{follower}.0"
    wait_until(lambda: committed_sum(admin, group) > 0, 30, "something is committed")
    mirror.send_signal(number)
    out, err = mirror.communicate(timeout=30)
    assert mirror.returncode == code, err
    assert "stopped;" in out
    again = f"cutover mirror --from {origin} --to {follower} --partitioner murmur2 --run {origin}--{follower}"
    again += f" --bootstrap {bootstrap} --lanes 2"
    assert f"next     {again}" in out
    assert run(*again.split()[2:], "--until-caught-up").returncode == 0
    assert read(bootstrap, follower, 24)[0] == read(bootstrap, origin, 6)[0]


@pytest.mark.slow
def test_a_second_signal_leaves_at_once_and_the_workers_end_by_themselves(
    spawn: Spawn, topic: MakeTopic, bootstrap: str, wait_until: WaitUntil
) -> None:
    origin, follower = topic(2), topic(4, ROOM)
    fill(bootstrap, origin, 100, partitions=2)
    mirror = spawn(*copy_arguments(origin, follower, "--grace", "1", "--output", "ndjson"))
    pid = wait_for_status(mirror, lambda status: status["ready"])["workers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)  # it cannot stop, so the first signal is still waiting for it
    try:
        mirror.send_signal(signal.SIGINT)
        assert_no_more_status(mirror)
        mirror.send_signal(signal.SIGINT)
        out, _ = mirror.communicate(timeout=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert mirror.returncode == 130
    assert events(out, "ended")[0]["outcome"].startswith("left running")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 20, "the worker has ended by itself")


def test_the_rate_is_changed_and_the_status_asked_while_it_runs(spawn: Spawn, run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 20000)
    mirror = spawn(*copy_arguments(origin, follower, "--run", "tuned", "--rate", "200/s", "--workers", "2", "--output", "ndjson"))
    slow = wait_for_status(
        mirror, lambda status: status["done_offsets"] > 0 and all(each["state"] == "running" for each in status["workers"])
    )
    assert slow["done_offsets"] < 15000
    told = run("status", "--run", "tuned", "--output", "json")
    assert [each["event"] for each in json.loads(told.stdout)["workers"]] == ["progress", "progress"]
    changed = run("rate", "--run", "tuned", "none")
    assert changed.returncode == 0, changed.stderr
    assert "no limit over 2 workers" in changed.stdout
    wait_for_status(mirror, lambda status: status["share"] == 1)
    mirror.send_signal(signal.SIGINT)
    assert mirror.wait(60) == 130


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_nothing_is_lost_or_doubled(spawn: Spawn, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 20000)
    mirror = spawn(*copy_arguments(origin, follower, "--rate", "4000/s", "--workers", "2", "--until-caught-up", "--output", "ndjson"))
    running = wait_for_status(mirror, lambda status: status["done_offsets"] > 0 and all(each["pid"] for each in status["workers"]))
    os.kill(running["workers"][0]["pid"], signal.SIGKILL)
    out, err = mirror.communicate(timeout=90)
    assert mirror.returncode == 0, err
    restart = events(out, "restart")[0]
    assert restart["error"]["id"] == "CUT-ENG-002"
    assert "SIGKILL" in restart["error"]["what"]
    assert read(bootstrap, follower, 24)[0] == read(bootstrap, origin, 6)[0]


def test_the_workers_of_a_driver_that_was_killed_end_after_their_grace_time(
    spawn: Spawn, topic: MakeTopic, bootstrap: str, wait_until: WaitUntil
) -> None:
    origin, follower = topic(2), topic(4, ROOM)
    fill(bootstrap, origin, 100, partitions=2)
    mirror = spawn(*copy_arguments(origin, follower, "--grace", "1", "--output", "ndjson"))
    pid = wait_for_status(mirror, lambda status: status["ready"])["workers"][0]["pid"]
    mirror.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 20, "the orphan has ended")


def test_a_follower_is_not_created_for_a_copy_that_is_refused(run: Run, topic: MakeTopic, admin: AdminClient) -> None:
    origin = topic(6)
    follower = f"{origin}.v2"
    assert run(*copy_arguments(origin, follower, "--create", "2")).returncode == 1
    assert run(*copy_arguments(origin, follower, "--create", "12"), CUTOVER_ENGINE="/nowhere").returncode == 1
    done = run(*copy_arguments(origin, follower, "--create", "12", "--dry-run"))
    assert (done.returncode, f"would create {follower} with 12 partitions" in done.stdout) == (0, True)
    assert follower not in admin.list_topics(timeout=10).topics


def test_the_follower_is_created_like_the_origin_with_room_for_provenance(
    run: Run, topic: MakeTopic, bootstrap: str, admin: AdminClient
) -> None:
    origin = topic(3, {"max.message.bytes": "2000000", "compression.type": "lz4"})
    fill(bootstrap, origin, 100, partitions=3)
    follower = f"{origin}.v2"
    try:
        done = run(*copy_arguments(origin, follower, "--create", "12", "--until-caught-up"))
        assert done.returncode == 0, done.stderr
        assert f"created {follower} with 12 partitions" in done.stderr
        assert len(admin.list_topics(follower, 10).topics[follower].partitions) == 12
        assert read(bootstrap, follower, 12)[0] == read(bootstrap, origin, 3)[0]
    finally:
        admin.delete_topics([follower])[follower].result(30)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(run: Run, topic: MakeTopic, bootstrap: str, admin: AdminClient) -> None:
    origin, follower = topic(6), topic(24, ROOM | {"message.timestamp.type": "LogAppendTime"})
    fill(bootstrap, origin, 100)
    done = run(*copy_arguments(origin, follower, "--dry-run"))
    assert done.returncode == 0, done.stderr
    assert "100 offsets to the ends of now" in done.stdout
    assert "the records' own times are lost" in done.stdout
    assert "nothing was changed" in done.stdout
    assert committed_sum(admin, f"cutover.{origin}--{follower}.0") == 0


# Bad input: a clear error with its id and exit code, nothing copied.


@pytest.fixture
def refused(run: Run) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the mirror, and holds it to an error id, an exit code, quickness and complete words."""

    def refused_one(error: str, code: int, *arguments: str, seconds: float = 15, **env: str) -> "subprocess.CompletedProcess[str]":
        began = time.monotonic()
        done = run(*arguments, **env)
        assert (done.returncode, error in done.stderr) == (code, True), f"{done.returncode}: {done.stderr}"
        assert time.monotonic() - began < seconds * SLOW_MACHINE
        assert all(word in done.stderr for word in ("  traffic  ", "  next     "))
        return done

    return refused_one


Refused = Callable[..., "subprocess.CompletedProcess[str]"]


def test_an_unknown_topic_is_named(refused: Refused, topic: MakeTopic) -> None:
    done = refused("CUT-PLN-101", 2, *copy_arguments("nobody-made-this", topic(4, ROOM)))
    assert "nobody-made-this" in done.stderr


def test_the_same_topic_twice_is_refused(refused: Refused, topic: MakeTopic) -> None:
    origin = topic(2)
    refused("CUT-MIR-001", 2, *copy_arguments(origin, origin))


def test_fewer_partitions_are_refused_unless_asked_for(refused: Refused, run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(4, ROOM)
    fill(bootstrap, origin, 300)
    done = refused("CUT-MIR-002", 1, *copy_arguments(origin, follower))
    assert f"{follower} has 4 partitions, {origin} has 6" in done.stderr
    assert read(bootstrap, follower, 4)[0] == {}
    assert run(*copy_arguments(origin, follower, "--allow-shrink", "--until-caught-up")).returncode == 0
    assert read(bootstrap, follower, 4)[0] == read(bootstrap, origin, 6)[0]


def test_an_unreachable_broker_is_named_within_seconds(refused: Refused) -> None:
    done = refused("CUT-NET-002", 1, *copy_arguments("a", "b"), "--bootstrap", "127.0.0.1:1", seconds=12)
    assert "127.0.0.1:1" in done.stderr


@pytest.fixture(scope="module")
def secured(pytestconfig: pytest.Config) -> Iterator[EmbeddedKafka]:
    """A broker with TLS, SCRAM and an authorizer; alice may do what an ACL says."""
    if pytestconfig.getoption("--kafka") != "embedded":
        pytest.skip("a broker with users is started only by --kafka=embedded")
    with EmbeddedKafka(security=Security(users={"alice": "alice-secret", "mallory": "mallory-secret"}), heap_mb=256) as kafka:
        yield kafka


def login(secured: EmbeddedKafka, user: str | None, variable: str) -> list[str]:
    """Options that log in as the user, with the password in an environment variable."""
    properties = {**secured.connection(user), "sasl.password": f"env:{variable}"}
    return [word for name, value in properties.items() for word in ("-X", f"{name}={value}")] + ["--bootstrap", secured.bootstrap_servers]


def test_wrong_credentials_are_refused_within_seconds_without_a_word_of_them(refused: Refused, secured: EmbeddedKafka) -> None:
    done = refused("CUT-REF-101", 1, *copy_arguments("a", "b"), *login(secured, "alice", "PASSWORD"), PASSWORD="guessed-wrong")
    assert "guessed-wrong" not in done.stderr + done.stdout


def test_a_principal_without_rights_is_told_which_it_lacks(refused: Refused, secured: EmbeddedKafka) -> None:
    refused("CUT-REF-102", 1, *copy_arguments("a", "b"), *login(secured, "mallory", "PASSWORD"), PASSWORD="mallory-secret")


def test_the_copy_works_over_tls_with_a_password_by_reference(run: Run, secured: EmbeddedKafka, wait_until: WaitUntil) -> None:
    client: dict[str, str | int | float | bool] = {**secured.connection()}
    password = secured.connection()["sasl.password"]
    admin = AdminClient(client)
    admin.create_topics([NewTopic("safe", 2)])["safe"].result(30)
    wait_until(lambda: usable(admin, "safe", 2), 30, "safe has leaders")
    producer = Producer(client)
    for number in range(100):
        producer.produce("safe", b"v", b"%d" % number)
    assert producer.flush(30) == 0
    done = run(
        *copy_arguments("safe", "safe.v2", "--create", "4", "--until-caught-up"), *login(secured, None, "PASSWORD"), PASSWORD=password
    )
    assert done.returncode == 0, done.stderr
    assert "100 of 100 offsets copied" in done.stdout
    assert password not in done.stderr + done.stdout


def test_an_unknown_partitioner_is_answered_with_a_suggestion(refused: Refused) -> None:
    done = refused("CUT-PLN-001", 2, "--from", "a", "--to", "b", "--partitioner", "murmur3")
    assert "Did you mean murmur2?" in done.stderr


def test_an_unknown_policy_for_null_keys_is_refused(refused: Refused) -> None:
    refused("CUT-PLN-002", 2, *copy_arguments("a", "b", "--null-keys", "guess"))


def test_a_follower_that_takes_smaller_records_is_refused_with_the_numbers(refused: Refused, topic: MakeTopic) -> None:
    done = refused("CUT-MIR-003", 1, *copy_arguments(topic(2), topic(4)))
    assert "1048588 bytes" in done.stderr
    assert "--add-config max.message.bytes=1048652" in done.stderr


def test_a_follower_with_records_of_somebody_else_is_refused_and_left_alone(refused: Refused, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 100)
    fill(bootstrap, follower, 5, partitions=24)
    before = read(bootstrap, follower, 24)
    done = refused("CUT-DEC-004", 7, *copy_arguments(origin, follower))
    assert "already holds records" in done.stderr
    assert read(bootstrap, follower, 24) == before


def test_another_number_of_lanes_is_refused(refused: Refused, run: Run, topic: MakeTopic, bootstrap: str) -> None:
    origin, follower = topic(6), topic(24, ROOM)
    fill(bootstrap, origin, 600)
    assert run(*copy_arguments(origin, follower, "--lanes", "2", "--until-caught-up")).returncode == 0
    done = refused("CUT-MIR-005", 1, *copy_arguments(origin, follower, "--lanes", "3"))
    assert "was begun with 2 lanes, not 3" in done.stderr


def test_a_run_name_that_kafka_could_not_bear_is_refused(refused: Refused, topic: MakeTopic) -> None:
    refused("CUT-MIR-007", 2, *copy_arguments(topic(2), topic(4, ROOM), "--run", "one two"))


def test_an_engine_that_is_not_there_is_said(refused: Refused, topic: MakeTopic) -> None:
    refused("CUT-ENG-001", 1, *copy_arguments(topic(2), topic(4, ROOM)), CUTOVER_ENGINE="/nonexistent/cutover-engine")


def test_a_run_without_workers_here_is_said(refused: Refused) -> None:
    refused("CUT-MIR-004", 1, "status", "--run", "nobody")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "b", "--partitioner", "murmur2"], "Missing option '--from'"),
        (copy_arguments("a", "b", "--rate", "fast"), "is not a rate such as 10000/s"),
        (copy_arguments("a", "b", "--start", "yesterday"), "none of earliest, latest"),
        (copy_arguments("a", "b", "--workers", "0"), "--workers"),
    ],
    ids=["from", "rate", "start", "workers"],
)
def test_wrong_usage_is_exit_code_2(run: Run, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
