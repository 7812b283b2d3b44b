"""The Python models of the wire are those of the Go source, and reading is strict where it must be."""

import re
from pathlib import Path
from typing import Literal, get_args

import pytest
from pydantic import BaseModel

from cutover.engine import events

WIRE = Path(__file__).parents[2] / "engine" / "wire"
STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
TAG = re.compile(r'json:"(\w+)')
NAME = re.compile(r'json:"event"`\s*// (\w+)')

SHARED = {"Ready", "LaneStatus", "Progress", "LaneChange", "Cut", "Fatal", "Stopped", "Reply"}


def go_structs(file: str) -> dict[str, str]:
    return dict(STRUCT.findall((WIRE / file).read_text()))


def test_each_event_of_the_source_has_its_model() -> None:
    assert set(go_structs("events.go")) == SHARED


@pytest.mark.parametrize("name", sorted(SHARED))
def test_a_model_has_exactly_the_fields_of_its_struct(name: str) -> None:
    model: type[BaseModel] = getattr(events, name)
    assert set(model.model_fields) == set(TAG.findall(go_structs("events.go")[name]))


@pytest.mark.parametrize("name", sorted(SHARED - {"LaneStatus"}))
def test_a_model_answers_to_the_event_name_of_its_struct(name: str) -> None:
    model: type[BaseModel] = getattr(events, name)
    found = NAME.search(go_structs("events.go")[name])
    assert found is not None
    assert get_args(model.model_fields["event"].annotation) == (found[1],)


def test_a_fault_has_the_fields_of_its_struct() -> None:
    assert set(events.Fault.model_fields) == set(TAG.findall(go_structs("fault.go")["Fault"]))


def test_what_go_writes_for_nothing_is_read_as_empty() -> None:
    event = events.parse('{"event":"progress","at_ms":1,"lanes":null,"positions":null,"commit_ms_p50":3}', events.MIRROR)
    assert isinstance(event, events.Progress)
    assert (event.lanes, event.positions, event.commit_ms_p50) == ((), {}, 3.0)


def test_partitions_are_numbers_though_json_has_only_text_for_keys() -> None:
    event = events.parse('{"event":"cut","positions":{"3":17}}', events.MIRROR)
    assert event == events.Cut(event="cut", positions={3: 17})


def test_a_field_of_a_newer_engine_is_ignored() -> None:
    assert events.parse('{"event":"cut","positions":{},"colour":"red"}', events.MIRROR) == events.Cut(event="cut")


def test_events_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        events.Cut(event="cut").positions = {}  # type: ignore[misc]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "not json",
        '{"positions":{}}',
        '{"event":"surprise"}',
        '{"event":"cut","positions":{"three":17}}',
        '{"event":"cut","positions":{"3":"17"}}',
        '{"event":"reply","id":"1","ok":true}',
        '{"event":"reply","id":1,"ok":"yes"}',
        '{"event":"ready"}',
    ],
)
def test_what_is_not_an_event_is_said_to_be_none(line: str) -> None:
    with pytest.raises(events.NotAnEventError):
        events.parse(line, events.MIRROR)


def test_a_role_has_only_its_own_events() -> None:
    with pytest.raises(events.NotAnEventError, match="cut"):
        events.parse('{"event":"cut","positions":{}}', events.CONTROL)


def test_a_role_adds_events_of_its_own() -> None:
    class Verdict(events.Event):
        event: Literal["verdict"]
        proved: bool

    assert events.parse('{"event":"verdict","proved":true}', (*events.COMMON, Verdict)) == Verdict(event="verdict", proved=True)
