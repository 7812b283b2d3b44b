import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cutover.cli import main
from cutover.kafka.embedded import registry
from cutover.kafka.embedded.identity import own_identity


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def owned(tmp_path: Path) -> str:
    """The name of a cluster that belongs to a live process: this one, which stands for its broker as well."""
    pid_file = tmp_path / "broker.pid"
    pid_file.write_text(json.dumps(own_identity()))
    registry.remember(tmp_path, False, "127.0.0.1:9092", [pid_file], own_identity())
    return registry.name_of(tmp_path)


def test_status_without_clusters_says_how_to_start_one() -> None:
    shown = CliRunner().invoke(main, ["kafka", "status"])
    assert shown.exit_code == 0
    assert shown.stdout == ""
    assert "cutover kafka up" in shown.stderr


def test_status_as_json_is_a_document_even_when_nothing_runs() -> None:
    shown = CliRunner().invoke(main, ["kafka", "status", "--output", "json"])
    assert json.loads(shown.stdout) == {"schema_version": 1, "clusters": []}


def test_status_says_with_whom_an_owned_cluster_ends(owned: str) -> None:
    assert f"ends with pid {own_identity().pid}" in CliRunner().invoke(main, ["kafka", "status"]).stdout
    (cluster,) = json.loads(CliRunner().invoke(main, ["kafka", "status", "--output", "json"]).stdout)["clusters"]
    assert (cluster["name"], cluster["state"], cluster["owner_pid"]) == (owned, "owned", own_identity().pid)


@pytest.mark.usefixtures("owned")
def test_down_leaves_a_cluster_alone_that_belongs_to_a_live_process() -> None:
    ended = CliRunner().invoke(main, ["kafka", "down"])
    assert ended.exit_code == 0
    assert "nothing to end" in ended.stderr
    assert len(registry.clusters()) == 1


@pytest.mark.usefixtures("owned")
def test_down_asks_which_where_several_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        registry.remember(tmp_path / name, False, "127.0.0.1:9092", [tmp_path / "broker.pid"], None)
    ended = CliRunner().invoke(main, ["kafka", "down"])
    assert ended.exit_code == 2
    assert all(registry.name_of(tmp_path / name) in ended.stderr for name in ("one", "two"))
    assert len(registry.clusters()) == 3


def test_down_with_an_unknown_name_is_a_usage_error() -> None:
    ended = CliRunner().invoke(main, ["kafka", "down", "nobody"])
    assert ended.exit_code == 2
    assert "nobody" in ended.stderr


def test_up_says_that_its_brokers_belong_to_nobody() -> None:
    text = " ".join(CliRunner().invoke(main, ["kafka", "up", "--help"]).stdout.split())
    assert "belong to nobody" in text
    assert "cutover kafka down" in text
