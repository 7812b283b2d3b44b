"""`cutover plan`: what each verb prints, where, and with which exit code."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cutover import wiring
from cutover.cli import main
from cutover.model import TopicPartition
from cutover.partitioners import partition
from cutover.plan import digest, load, schema
from cutover.twin import Twin
from tests.unit.test_plan import LEAST

PLANS = Path(__file__).parents[3] / "plans"
SMALLEST = str(PLANS / "smallest.yaml")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["plan", *words])


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(LEAST)
    return path


def test_lint_names_each_file_that_is_in_order_with_its_digest() -> None:
    found = run("lint", *map(str, sorted(PLANS.glob("*.yaml"))))
    assert found.exit_code == 0
    assert [line.partition(": ")[2].partition(",")[0] for line in found.stdout.splitlines()] == ["in order"] * 5


def test_lint_tells_every_error_of_every_file(written: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LEAST.replace("murmur2", "murmur") + "budgets: {hold: 2}\n")
    found = run("lint", str(tmp_path / "a.yaml"), str(written))
    assert found.exit_code == 2
    first, second, note, good = found.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/a.yaml:6:1: partitioner: is 'murmur'")
    assert second == f"{tmp_path}/a.yaml:7:11: budgets.hold: is 2, without a unit: write 2s or 2ms"
    assert note == f"{written}:2:1: producers: names nobody: whoever writes the source is then a straggler (note)"
    assert good.startswith(f"{written}: in order, digest ")


def test_a_note_stops_nothing(written: Path) -> None:
    written.write_text(LEAST + "groups: [{name: g, owner: to-be-named, switch: manual}]\n")
    found = run("lint", str(written))
    assert found.exit_code == 0
    assert [line.split(": ")[1] for line in found.stdout.splitlines() if line.endswith("(note)")] == [
        "producers",
        "groups[0].owner",
        "groups[0]",
    ]


def test_lint_tells_the_same_as_json(written: Path) -> None:
    written.write_text(LEAST.replace("murmur2", "murmur"))
    document = json.loads(run("lint", "--output", "json", SMALLEST, str(written)).stdout)
    assert document["schema_version"] == 1
    assert [(each["file"], each["digest"] is None, len(each["errors"])) for each in document["files"]] == [
        (SMALLEST, False, 0),
        (str(written), True, 1),
    ]
    assert document["files"][1]["errors"][0].keys() == {"line", "column", "path", "what"}


def test_a_file_that_is_not_there_is_an_error_in_the_shape_of_all_errors() -> None:
    found = run("lint", "nowhere.yaml")
    assert found.exit_code == 2
    assert found.stderr.startswith("error CUT-PLN-003: nowhere.yaml cannot be read\n")


def test_show_and_digest_refuse_a_plan_that_is_wrong(written: Path) -> None:
    written.write_text("cutover: a\n")
    for verb in ("show", "digest"):
        found = run(verb, str(written))
        assert (found.exit_code, found.stdout) == (2, "")
        assert f"{written}:1:1: cluster: is missing" in found.stderr


@pytest.mark.parametrize("words", [[], ["--resolved"]])
@pytest.mark.parametrize("output", ["yaml", "json"])
def test_what_show_prints_is_the_same_plan_again(tmp_path: Path, words: list[str], output: str) -> None:
    for path in PLANS.glob("*.yaml"):
        again = tmp_path / "again.yaml"
        again.write_text(run("show", *words, "--output", output, str(path)).stdout)
        assert digest(load(again, {})) == digest(load(path, {}))


def test_show_prints_defaults_only_when_it_is_asked() -> None:
    assert "budgets" not in yaml.safe_load(run("show", SMALLEST).stdout)
    assert yaml.safe_load(run("show", "--resolved", SMALLEST).stdout)["budgets"]["hold"] == "2s"


def test_variables_come_from_the_environment(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written.write_text(LEAST.replace("localhost:9092", "${BROKER}"))
    monkeypatch.setenv("BROKER", "kafka.example.com:9093")
    assert yaml.safe_load(run("show", str(written)).stdout)["cluster"] == {"bootstrap": "kafka.example.com:9093"}


def test_digest_prints_the_digest_and_nothing_else() -> None:
    assert run("digest", SMALLEST).stdout == digest(load(Path(SMALLEST), {})) + "\n"


def test_schema_prints_the_schema() -> None:
    assert json.loads(run("schema").stdout) == json.loads(json.dumps(schema()))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Twin:
    """A cluster in the place of the real one."""
    twin = Twin()
    twin.create_topic("orders", 6, replication_factor=1)
    for number in range(300):
        key = b"key-%d" % number
        twin.append(TopicPartition("orders", partition("crc32", key, 6)), key, b"v")
    twin.join("readers", ["orders"])

    @contextmanager
    def opened(_: object) -> Iterator[Twin]:
        yield twin

    monkeypatch.setattr(wiring, "cluster", opened)
    monkeypatch.setattr(wiring, "reader", lambda _: twin)
    return twin


NEW = ("new", "--from-topic", "orders", "--bootstrap", "localhost:9092")


@pytest.mark.usefixtures("cluster")
def test_new_prints_a_plan_that_loads(written: Path) -> None:
    found = run(*NEW)
    assert found.exit_code == 0
    written.write_text(found.stdout)
    plan = load(written, {})
    assert (plan.partitioner, plan.target.partitions, [each.name for each in plan.groups]) == ("crc32", 24, ["readers"])
    assert plan.cluster.bootstrap == "localhost:9092"
    assert run("lint", str(written)).exit_code == 0


@pytest.mark.usefixtures("cluster")
def test_new_writes_a_file_and_never_over_another(tmp_path: Path) -> None:
    out = tmp_path / "new.yaml"
    first = run(*NEW, "--to", "t", "--partitions", "9", "-o", str(out))
    assert (first.exit_code, first.stdout) == (0, "")
    assert f"next: name the producers and the owners in it, then run: cutover plan lint {out}" in first.stderr
    before = out.read_text()
    second = run(*NEW, "-o", str(out))
    assert second.exit_code == 1
    assert second.stderr.startswith(f"error CUT-PLN-006: {out} is there already")
    assert out.read_text() == before
    assert (load(out, {}).target.topic, load(out, {}).target.partitions) == ("t", 9)


@pytest.mark.usefixtures("cluster")
def test_new_says_so_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    found = run(*NEW, "-o", str(tmp_path / "gone" / "new.yaml"))
    assert found.exit_code == 2
    assert "cannot be written" in found.stderr


@pytest.mark.usefixtures("cluster")
def test_new_refuses_a_target_that_cannot_be_one(tmp_path: Path) -> None:
    found = run(*NEW, "--to", "orders", "-o", str(tmp_path / "new.yaml"))
    assert found.exit_code == 2
    assert "target.topic: is the source, orders: name another topic" in found.stderr
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.usefixtures("cluster")
def test_new_keeps_the_profile_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cutover").mkdir()
    (tmp_path / "cutover" / "config.toml").write_text('[profiles.staging]\n"bootstrap.servers" = "localhost:9092"\n')
    found = run("new", "--from-topic", "orders", "--profile", "staging")
    assert yaml.safe_load(found.stdout)["cluster"] == {"profile": "staging"}


def test_new_changes_nothing_on_the_cluster(cluster: Twin) -> None:
    before = (cluster.topic_names(), cluster.groups(), cluster.committed(["readers"]))
    run(*NEW)
    assert (cluster.topic_names(), cluster.groups(), cluster.committed(["readers"])) == before
