import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.errors import KafkaInUse
from cutover.kafka.embedded import registry
from cutover.kafka.embedded.identity import Identity, identify, lives, own_identity


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def sleeper() -> Iterator[Identity]:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
        identity = identify(process.pid)
        assert identity
        yield identity
        process.kill()


GONE = Identity(2**22 + 1, "1")


def record(tmp_path: Path, broker: Identity, owner: Identity | None, temporary: bool = False) -> Path:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    pid_file = data_dir / "broker.pid"
    pid_file.write_text(json.dumps(broker))
    registry.remember(data_dir, temporary, "127.0.0.1:9092", [pid_file], owner)
    return data_dir


def test_a_broker_whose_owner_is_gone_is_stale(tmp_path: Path, sleeper: Identity) -> None:
    data_dir = record(tmp_path, sleeper, GONE)
    (cluster,) = registry.clusters()
    assert (cluster.state, cluster.data_dir, cluster.alive) == ("stale", data_dir, [sleeper])


def test_a_broker_whose_owner_lives_is_owned_and_one_without_an_owner_runs(tmp_path: Path, sleeper: Identity) -> None:
    data_dir = record(tmp_path, sleeper, own_identity())
    assert registry.clusters()[0].state == "owned"
    registry.remember(data_dir, False, "127.0.0.1:9092", [data_dir / "broker.pid"], None)
    assert registry.clusters()[0].state == "running"


def test_a_number_that_another_process_has_now_is_not_our_broker(tmp_path: Path, sleeper: Identity) -> None:
    data_dir = record(tmp_path, Identity(sleeper.pid, "another beginning"), GONE, temporary=True)
    assert registry.clusters() == []
    assert lives(sleeper)
    assert not data_dir.exists(), "what an ended temporary cluster left is removed"
    assert not registry.path_of(data_dir).exists()


def test_a_data_directory_in_use_is_refused_with_the_command_that_ends_its_brokers(tmp_path: Path, sleeper: Identity) -> None:
    data_dir = record(tmp_path, sleeper, GONE)
    with pytest.raises(KafkaInUse) as refused:
        registry.refuse_if_used(data_dir)
    assert str(sleeper.pid) in refused.value.what
    assert refused.value.next == f"End it: cutover kafka down {registry.name_of(data_dir)}"


def test_ending_a_cluster_ends_its_processes_and_keeps_data_that_are_not_temporary(tmp_path: Path, sleeper: Identity) -> None:
    data_dir = record(tmp_path, sleeper, None)
    registry.end(registry.clusters()[0])
    assert not lives(sleeper)
    assert data_dir.exists()
    assert registry.clusters() == []
