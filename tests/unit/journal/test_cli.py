"""What `cutover journal` prints, and its exit codes."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cutover.cli import main
from cutover.journal import Journal, Tenure
from tests.unit.journal.conftest import PAIR

PAGE = Path(__file__).parents[3] / "docs" / "journal.md"


@pytest.fixture
def written(driver: Tenure) -> Tenure:
    driver.write("intent", "provisioned", "create_target", {"topic": "orders.v2", "partitions": 24})
    driver.write("outcome", "provisioned", "create_target", {"failed": {"id": "CUT-KFK-001", "what": "it was not created"}})
    driver.write("note", "soaking", "look", {"words": "one\x1b[2Jtwo", "long": "x" * 500})
    return driver


def journal_command(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["journal", *words, "--journal", url])


@pytest.mark.usefixtures("written")
def test_show_prints_a_line_for_each_entry(url: str) -> None:
    lines = journal_command(url, "show", "orders").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    assert "provisioned       create_target          intent    partitions=24  topic=orders.v2" in lines[1]
    assert lines[2].endswith("outcome   FAILED CUT-KFK-001: it was not created")
    assert lines[3].endswith("…")
    assert max(map(len, lines)) < 200


@pytest.mark.usefixtures("written")
def test_no_entry_can_move_the_terminals_cursor(url: str) -> None:
    shown = journal_command(url, "show", "orders").stdout
    assert all(letter.isprintable() for line in shown.splitlines() for letter in line)


@pytest.mark.usefixtures("written")
def test_show_after_leaves_out_what_was_seen(url: str) -> None:
    assert len(journal_command(url, "show", "orders", "--after", "2").stdout.splitlines()) == 1


@pytest.mark.usefixtures("written")
def test_show_as_json_is_one_document(url: str) -> None:
    document = json.loads(journal_command(url, "show", "orders", "--output", "json").stdout)
    assert (document["schema_version"], document["run"]) == (1, "orders")
    assert [entry["seq"] for entry in document["entries"]] == [0, 1, 2, 3]
    assert document["entries"][1]["body"] == {"partitions": 24, "topic": "orders.v2"}


@pytest.mark.usefixtures("written")
def test_anybody_can_check_the_chain_of_an_export_with_the_program_of_the_page(url: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exported = journal_command(url, "show", "orders", "--output", "ndjson").stdout
    for export, holds in ((exported, True), (exported.replace("partitions", "partition"), False), (exported.partition("\n")[2], False)):
        checked = subprocess.run([sys.executable, "-c", program], input=export, text=True, capture_output=True, check=False)
        assert (checked.returncode == 0, "AssertionError" in checked.stderr) == (holds, not holds)


@pytest.mark.usefixtures("written")
def test_verify_says_how_much_was_checked(url: str) -> None:
    head = journal_command(url, "head", "orders").stdout.strip()
    checked = journal_command(url, "verify", "orders", "--head", head)
    assert (checked.exit_code, checked.stdout) == (0, f"orders: 4 entries, every link holds; head {head}\n")
    document = json.loads(journal_command(url, "verify", "orders", "--output", "json").stdout)
    assert document == {"schema_version": 1, "run": "orders", "entries": 4, "head": head, "against_exported_head": False}


@pytest.mark.usefixtures("written")
def test_verify_without_a_head_says_what_it_cannot_find(url: str) -> None:
    assert "--head" in journal_command(url, "verify", "orders").stderr


@pytest.mark.usefixtures("written")
def test_a_tampered_journal_ends_with_5_and_the_place(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("UPDATE entries SET holder = 'nobody' WHERE seq = 2")
    found = journal_command(url, "verify", "orders")
    assert found.exit_code == 5
    assert found.stdout == ""
    assert "CUT-JRN-004" in found.stderr
    assert "entry 2" in found.stderr


@pytest.mark.parametrize("head", ["3", "x:y", "3:" + "g" * 64, "-1:" + "0" * 64])
@pytest.mark.usefixtures("written")
def test_a_head_that_is_none_is_a_usage_error(url: str, head: str) -> None:
    assert journal_command(url, "verify", "orders", "--head", head).exit_code == 2


@pytest.mark.parametrize("verb", ["show", "verify", "head"])
@pytest.mark.usefixtures("journal")
def test_an_unknown_run_ends_with_2(url: str, verb: str) -> None:
    assert journal_command(url, verb, "nobody").exit_code == 2


def test_runs_says_who_drives_each(url: str, written: Tenure) -> None:
    assert f"{PAIR} " in journal_command(url, "runs").stdout
    assert "driven by driver-1" in journal_command(url, "runs").stdout
    written.release()
    assert "nobody drives it" in journal_command(url, "runs").stdout
    (document,) = json.loads(journal_command(url, "runs", "--output", "json").stdout)["runs"]
    assert (document["run"], document["head_seq"], document["driver"], "plan" in document) == ("orders", 3, None, False)


def test_a_run_that_has_ended_is_said_to_have_ended(url: str, written: Tenure) -> None:
    written.write("ended", "completed", "end", {})
    assert "ended 2" in journal_command(url, "runs").stdout


def test_an_empty_journal_says_so(url: str) -> None:
    Journal.open(url).close()
    shown = journal_command(url, "runs")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no run" in shown.stderr


@pytest.mark.usefixtures("written")
def test_the_journal_is_named_by_the_environment_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_JOURNAL", url)
    assert "orders" in CliRunner().invoke(main, ["journal", "runs"]).stdout
