"""What a worker is told is what the Go source reads; rates, starts and run names are read strictly."""

import hashlib
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from cutover.engine.configuration import MirrorConfiguration, Rate, Start, Topic
from cutover.engine.faults import FAULTS
from cutover.errors import RunNameWrong
from cutover.run import Run, default_name

ENGINE = Path(__file__).parents[2] / "engine"
STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
TAG = re.compile(r'json:"(\w+)')
FAULT = re.compile(r'Faultf\("([a-z_]+)"')
VERDICT = re.compile(r'^\t\w+ += "([a-z_]+)" +//', re.MULTILINE)


def go_fields(name: str) -> set[str]:
    return set(TAG.findall(dict(STRUCT.findall((ENGINE / "wire" / "config.go").read_text()))[name]))


@pytest.mark.parametrize(("name", "model"), [("Topic", Topic), ("Rate", Rate), ("Start", Start)])
def test_a_part_of_the_configuration_has_the_fields_of_its_struct(name: str, model: type[BaseModel]) -> None:
    assert set(model.model_fields) == go_fields(name)


def test_the_configuration_and_what_starting_adds_are_the_fields_of_the_struct() -> None:
    assert set(MirrorConfiguration.model_fields) | {"version", "socket"} == go_fields("Mirror") | go_fields("Common")


def test_each_fault_of_the_source_is_an_error_with_a_name() -> None:
    named = {name for file in ENGINE.rglob("*.go") for name in FAULT.findall(file.read_text())}
    assert named
    named |= set(VERDICT.findall((ENGINE / "recovery" / "recovery.go").read_text())) - {"continue"}
    assert "hole" in named
    assert named - set(FAULTS) == set()


@pytest.mark.parametrize(
    ("text", "records", "size"),
    [
        ("10000/s", 10_000, 0),
        ("10,000/s", 10_000, 0),
        ("10k/s", 10_000, 0),
        ("250", 250, 0),
        ("1.5k", 1500, 0),
        ("5MB/s", 0, 5_000_000),
        ("5 MiB/s", 0, 5 * 2**20),
        ("none", 0, 0),
    ],
)
def test_a_rate_is_read(text: str, records: float, size: float) -> None:
    assert Rate.parse(text) == Rate(records_per_second=records, bytes_per_second=size)


@pytest.mark.parametrize("text", ["", "fast", "-5/s", "5 apples/s", "5//s", "1,00/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        Rate.parse(text)


@pytest.mark.parametrize("text", ["0", "0/s", "0MB/s", "0.0k"])
def test_a_rate_of_zero_is_not_taken_for_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="would stop the copy"):
        Rate.parse(text)


def test_workers_share_a_rate() -> None:
    assert Rate(records_per_second=900).shared_by(3) == Rate(records_per_second=300)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", Start(kind="earliest")),
        ("latest", Start(kind="latest")),
        ("1700000000123", Start(kind="time", time_ms=1_700_000_000_123)),
        ("2023-11-14T22:13:20Z", Start(kind="time", time_ms=1_700_000_000_000)),
        ("2023-11-14T22:13:20", Start(kind="time", time_ms=1_700_000_000_000)),
        ("2023-11-14T23:13:20.5+01:00", Start(kind="time", time_ms=1_700_000_000_500)),
    ],
)
def test_a_start_is_read(text: str, start: Start) -> None:
    assert Start.parse(text) == start


@pytest.mark.parametrize("text", ["yesterday", "", "2023-13-01", "-5"])
def test_what_is_no_start_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="none of earliest, latest"):
        Start.parse(text)


def test_a_run_is_named_alike_on_every_host() -> None:
    run = Run.of("orders--orders.v2", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAQ")
    assert run.run_id == hashlib.sha256(b"orders--orders.v2|AAAAAAAAAAAAAAAAAAAAAA|AAAAAAAAAAAAAAAAAAAAAQ").hexdigest()[:16]
    assert run.group == "cutover.orders--orders.v2.0"
    assert run.transactional_id(3) == "cutover.orders--orders.v2.0.3"


def test_another_topic_of_the_same_name_is_another_run() -> None:
    assert Run.of("r", "a", "b").run_id != Run.of("r", "a", "c").run_id


@pytest.mark.parametrize("name", ["", "one two", "a" * 121, "a/b"])
def test_a_run_name_that_kafka_could_not_bear_is_refused(name: str) -> None:
    with pytest.raises(RunNameWrong):
        Run.of(name, "a", "b")


def test_the_default_name_of_the_longest_topics_is_a_name() -> None:
    Run.of(default_name("s" * 249, "t" * 249), "a", "b")
