"""docs/engine.md says what the code does; run this file with --write to renew its table of faults."""

import re
import sys
from pathlib import Path

from pydantic import BaseModel

from cutover import errors
from cutover.engine import events
from cutover.engine.faults import FAULTS
from cutover.engine.pair import PROVENANCE_BYTES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "engine.md"
TABLE = re.compile(r"(<!-- faults:.*?-->\n).*?(<!-- /faults -->)", re.DOTALL)


def fault_table() -> str:
    rows = [f"| `{name}` | {kind.id} | {kind.exit_code} | {why} |" for name, (kind, why) in sorted(FAULTS.items())]
    return "\n".join(["| fault | error | exit | why it stops |", "|---|---|---|---|", *rows]) + "\n"


def section(title: str) -> str:
    return PAGE.read_text().partition(f"## {title}")[2].partition("\n## ")[0]


def test_the_table_of_faults_is_that_of_the_code() -> None:
    found = TABLE.search(PAGE.read_text())
    assert found is not None
    assert fault_table() in found[0], "renew it: python tests/unit/test_engine_docs.py --write"


def test_the_table_of_events_names_every_event_and_field() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", section("Events"), re.MULTILINE))
    models: dict[str, type[BaseModel]] = {str(model.model_fields["event"].annotation).split("'")[1]: model for model in events.MIRROR}
    assert {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows.items()} == {
        name: set(model.model_fields) - {"event"} for name, model in models.items()
    }


def test_the_table_of_commands_is_what_the_mirror_obeys() -> None:
    source = (ROOT / "engine" / "mirror" / "commands.go").read_text() + (ROOT / "engine" / "mirror" / "worker.go").read_text()
    obeyed = set(re.findall(r'case "(\w+)":', source)) | set(re.findall(r'command\.Name == "(\w+)"', source))
    assert set(re.findall(r"^\| `(\w+)` ", section("Commands of every role, and of a mirror"), re.MULTILINE)) == obeyed


def test_the_ids_that_the_pages_name_are_those_of_errors() -> None:
    known = {each.id for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CutoverError)} | {
        "CUT-MIR-007"
    }
    text = PAGE.read_text() + (ROOT / "docs" / "mirror.md").read_text()
    assert set(re.findall(r"CUT-[A-Z]+-\d+", text)) - known == set()


def test_the_room_for_provenance_is_the_number_of_the_page() -> None:
    assert f"below the origin's plus {PROVENANCE_BYTES} " in (ROOT / "docs" / "mirror.md").read_text()


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(TABLE.sub(lambda found: found[1] + fault_table() + found[2], PAGE.read_text()))
