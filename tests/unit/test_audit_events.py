"""The Python models of the audit's events and configuration are those of the Go source."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from cutover.engine import audit_events
from cutover.engine.auditing import AuditConfiguration, counted, require_proved
from cutover.engine.events import parse
from cutover.errors import AuditViolation, NotProved

ENGINE = Path(__file__).parents[2] / "engine"
STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
TAG = re.compile(r'json:"(\w+)')
NAME = re.compile(r'json:"event"`\s*// (\w+)')
MODELS = {"Progress": "AuditProgress"}

STRUCTS = dict(STRUCT.findall((ENGINE / "audit" / "events.go").read_text()))


def wire_names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_a_model_has_exactly_the_fields_of_its_struct(name: str) -> None:
    model = getattr(audit_events, MODELS.get(name, name))
    assert wire_names(model) == set(TAG.findall(STRUCTS[name]))
    event = NAME.search(STRUCTS[name])
    assert event is None or get_args(model.model_fields["event"].annotation) == (event[1],)


def test_the_configuration_has_the_fields_of_its_struct() -> None:
    found = dict(STRUCT.findall((ENGINE / "wire" / "config.go").read_text()))
    wanted = set(TAG.findall(found["Audit"])) | set(TAG.findall(found["Common"])) - {"version", "socket"}
    assert wire_names(AuditConfiguration) == wanted


def verdict(**changes: object) -> audit_events.Verdict:
    line = (
        '{"event":"verdict","at_ms":1,"window":1,"result":"proved","standing":"proved","bounds":{"from":{"0":0},"until":{"0":5},'
        '"follower_from":null,"follower_until":{"0":6}},"pairs":null,"pairs_total":0,"pairs_equal":0,"coverage":{"expected":5,"proved":5,'
        '"unproved":0,"later":0,"gaps":null},"violations":{},"violations_exact":true,"accepted":{},"samples":[],"digest_fields":["key"],'
        '"records_read":10,"seconds":1,"records_per_second":10,"judged_per_second":5}'
    )
    read = parse(line, audit_events.AUDIT)
    assert isinstance(read, audit_events.Verdict)
    return read.model_copy(update=changes)


def test_a_verdict_is_read_with_what_go_writes_for_nothing() -> None:
    told = verdict()
    assert (told.pairs, told.coverage.gaps, dict(told.bounds.from_), dict(told.bounds.follower_from)) == ((), (), {0: 0}, {})


def test_what_stands_decides_not_the_last_window() -> None:
    require_proved(verdict(), "s", "t")
    with pytest.raises(AuditViolation, match="earlier window") as red:
        require_proved(verdict(standing="violated"), "s", "t")
    assert red.value.exit_code == 5
    with pytest.raises(NotProved) as open_:
        require_proved(verdict(result="unproved", standing="unproved"), "s", "t")
    assert open_.value.exit_code == 3


def test_violations_are_counted_in_words() -> None:
    assert counted(verdict(violations={"changed": 2, "missing": 1200}, violations_exact=False)) == "at least 1,200 missing, 2 changed"
