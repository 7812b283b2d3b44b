"""The Python models of a dual audit's events and configuration are those of the Go source, and its verdicts become errors."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from cutover.engine import dual_events
from cutover.engine.auditing import require_proved
from cutover.engine.dual_auditing import DualAuditConfiguration
from cutover.engine.events import parse
from cutover.errors import AuditViolation, NotProved

ENGINE = Path(__file__).parents[2] / "engine"
STRUCT = re.compile(r"^type (\w+) struct \{(.*?)^\}", re.MULTILINE | re.DOTALL)
TAG = re.compile(r'json:"(\w+)')
NAME = re.compile(r'json:"event"`\s*// (\w+)')
STRUCTS = dict(STRUCT.findall((ENGINE / "dualaudit" / "events.go").read_text()))


def wire_names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_a_model_has_exactly_the_fields_of_its_struct(name: str) -> None:
    model = getattr(dual_events, f"Dual{name}")
    assert wire_names(model) == set(TAG.findall(STRUCTS[name]))
    event = NAME.search(STRUCTS[name])
    assert event is None or get_args(model.model_fields["event"].annotation) == (event[1],)


def test_the_configuration_has_the_fields_of_its_struct() -> None:
    found = dict(STRUCT.findall((ENGINE / "wire" / "config.go").read_text()))
    wanted = set(TAG.findall(found["DualAudit"])) | set(TAG.findall(found["Common"])) - {"version", "socket"}
    assert wire_names(DualAuditConfiguration) == wanted


def verdict(**changes: object) -> dual_events.DualVerdict:
    line = (
        '{"event":"dual_verdict","at_ms":1,"window":1,"result":"proved","standing":"proved","bounds":{"source_from":{"0":0},'
        '"source_until":{"0":5},"target_from":null,"target_until":{"0":6}},"coverage":{"source_records":5,"target_records":5,"matched":5,'
        '"doubtful_start":0,"doubtful":0,"gaps":null},"violations":{},"violations_exact":true,"accepted":{},"samples":null,"spilled":0,'
        '"records_read":10,"seconds":1,"records_per_second":10}'
    )
    read = parse(line, dual_events.DUAL_AUDIT)
    assert isinstance(read, dual_events.DualVerdict)
    return read.model_copy(update=changes)


def test_what_stands_decides() -> None:
    require_proved(verdict(), "s", "t")
    with pytest.raises(AuditViolation, match="2 one_side_only") as red:
        require_proved(verdict(standing="violated", violations={"one_side_only": 2}), "s", "t")
    assert red.value.exit_code == 5
    doubtful = verdict().coverage.model_copy(update={"doubtful": 3})
    with pytest.raises(NotProved, match="3 records have no counterpart yet") as waiting:
        require_proved(verdict(standing="unproved", coverage=doubtful), "s", "t")
    assert waiting.value.exit_code == 3
    gap = dual_events.DualGap(side="source", topic="s", partition=-1, from_=0, until=0, records=2, why="it is compacted")
    with pytest.raises(NotProved, match="cannot be judged") as gone:
        require_proved(verdict(standing="unproved", coverage=doubtful.model_copy(update={"gaps": (gap,)})), "s", "t")
    assert gone.value.why == "s: it is compacted"
