"""Whoever is on call finds a page for whatever a run can say, finished and in sync, and every command on it exists."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from cutover import errors
from cutover.cli import main
from cutover.lifecycle import Stage
from scripts import runbooks

PAGES = [*sorted(runbooks.RUNBOOKS.rglob("*.md")), runbooks.ROOT / "docs" / "rollback.md"]
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
KAFKA_TOOLS = frozenset(
    f"kafka-{name}.sh"
    for name in (
        *("acls", "broker-api-versions", "configs", "console-consumer", "consumer-groups", "features", "get-offsets", "log-dirs"),
        *("share-groups", "topics", "transactions"),
    )
)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(runbooks.RUNBOOKS, tmp_path / "runbooks"))


def test_every_page_is_there_and_finished_and_in_sync() -> None:
    assert runbooks.problems() == [], "renew what is generated: python scripts/runbooks.py --write"


def test_every_stage_has_a_page() -> None:
    assert {path.stem for path in (runbooks.RUNBOOKS / "stages").glob("*.md")} == {each.value for each in Stage}


def test_every_id_that_an_error_carries_has_a_page() -> None:
    defined = r'^    id(?:: ClassVar\[str\])? = "(CUT-[A-Z]+-\d+)"'
    ids = {found for path in runbooks.PACKAGE.rglob("*.py") for found in re.findall(defined, path.read_text(), re.MULTILINE)}
    assert {path.stem for path in (runbooks.RUNBOOKS / "errors").glob("*.md")} == ids - {errors.CutoverError.id}


def test_every_id_that_a_rule_of_the_preflight_names_has_a_page() -> None:
    ids = {found for path in (runbooks.PACKAGE / "preflight").glob("*.py") for found in re.findall(r"CUT-PRE-\d{3}", path.read_text())}
    assert {path.stem for path in (runbooks.RUNBOOKS / "findings").glob("*.md")} == ids


def test_who_acts_next_is_the_branch_of_the_tree() -> None:
    assert {each: runbooks.family(each) for each in (errors.FlipUndone, errors.WriteUnknown, errors.EngineFailed)} == {
        errors.FlipUndone: errors.Refused,
        errors.WriteUnknown: errors.Ambiguous,
        errors.EngineFailed: errors.CutoverError,
    }


def test_a_head_says_what_its_error_says() -> None:
    page = (runbooks.RUNBOOKS / "errors" / "CUT-FLP-002.md").read_text().partition(runbooks.MARK)[0]
    kind = errors.AttemptsSpent
    assert [
        words for words in (kind.__doc__, kind.traffic, kind.advice, f"| exit code | {kind.exit_code} |") if str(words) not in page
    ] == []


def remove(name: str) -> Callable[[Path], object]:
    return lambda where: (where / name).unlink()


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def plant(where: Path) -> None:
        text = (where / name).read_text()
        assert old in text
        (where / name).write_text(text.replace(old, new, 1))

    return plant


def empty(name: str, heading: str) -> Callable[[Path], object]:
    def plant(where: Path) -> None:
        head, mark, hand = (where / name).read_text().partition(runbooks.MARK)
        emptied = re.sub(rf"(?ms)^## {heading}\n.*?(?=^## |\Z)", f"## {heading}\n\n", hand)
        (where / name).write_text(head + mark + emptied)

    return plant


@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (remove("stages/soaking.md"), "stages/soaking.md: there is no page"),
        (remove("errors/CUT-FLP-001.md"), "errors/CUT-FLP-001.md: there is no page"),
        (remove("findings/CUT-PRE-004.md"), "findings/CUT-PRE-004.md: there is no page"),
        (replace("errors/CUT-FLP-001.md", "| exit code | 6 |", "| exit code | 1 |"), "errors/CUT-FLP-001.md: its head is out of date"),
        (
            replace("findings/CUT-PRE-004.md", "| severity | red |", "| severity | amber |"),
            "findings/CUT-PRE-004.md: its head is out of date",
        ),
        (replace("stages/soaking.md", "# Stage `soaking`", "# Soaking"), "stages/soaking.md: its head is out of date"),
        (empty("errors/CUT-FLP-001.md", "Do not"), "errors/CUT-FLP-001.md: nothing is written below Do not"),
        (empty("stages/soaking.md", "Purpose"), "stages/soaking.md: nothing is written below Purpose"),
        (empty("findings/CUT-PRE-004.md", "Fix"), "findings/CUT-PRE-004.md: nothing is written below Fix"),
        (replace("README.md", "(stages/soaking.md)", "(stages/soak.md)"), "README.md: its index is out of date"),
        (remove("README.md"), "README.md: it has no place for the index"),
    ],
)
def test_a_page_that_is_wrong_is_named(copied: Path, plant: Callable[[Path], object], wrong: str) -> None:
    plant(copied)
    assert runbooks.problems(copied) == [wrong]


def test_a_heading_that_is_missing_is_named(copied: Path) -> None:
    replace("stages/soaking.md", "## Purpose\n", "## Reason\n")(copied)
    (wrong,) = runbooks.problems(copied)
    assert wrong.startswith("stages/soaking.md: its headings are Reason, What is checked")


def test_a_page_about_nothing_is_named(copied: Path) -> None:
    (copied / "errors" / "CUT-ZZZ-999.md").write_text("# gone\n")
    assert runbooks.problems(copied) == ["errors/CUT-ZZZ-999.md: nothing in the code has this name"]


def test_writing_renews_what_is_generated_and_keeps_what_people_wrote(copied: Path) -> None:
    page = copied / "errors" / "CUT-FLP-001.md"
    hand = page.read_text().partition(runbooks.MARK)[2]
    replace("errors/CUT-FLP-001.md", "| exit code | 6 |", "| exit code | 1 |")(copied)
    replace("README.md", "| [soaking](stages/soaking.md)", "| [soak](stages/soaking.md)")(copied)
    runbooks.write(copied)
    assert runbooks.problems(copied) == []
    assert page.read_text().partition(runbooks.MARK)[2] == hand


def test_writing_begins_a_new_page_which_stays_wrong_until_people_have_written_it(copied: Path) -> None:
    remove("errors/CUT-FLP-001.md")(copied)
    runbooks.write(copied)
    assert runbooks.problems(copied) == [f"errors/CUT-FLP-001.md: nothing is written below {name}" for name in runbooks.ERROR_HEADINGS]


def test_anything_but_one_of_the_two_options_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert [runbooks.main([]), runbooks.main(["--write", "--check"])] == [2, 2]
    assert "--check or --write" in capsys.readouterr().err


def test_a_check_ends_with_0_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert runbooks.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


# What pages name.


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command line in the console blocks, and of each cutover command in the text."""
    for block in CONSOLE.findall(text):
        yield from (shlex.split(line[2:]) for line in block.splitlines() if line.startswith("$ "))
    for inline in re.findall(r"`(cutover [^`\n]+)`", CONSOLE.sub("", text)):
        yield inline.replace('"', "").split()


def wrong_with(words: list[str]) -> str:
    """What is wrong with a command line: a tool, a verb or an option that is not there; empty when nothing is."""
    if words[0] != "cutover":
        return f"{words[0]} is no tool of Kafka" if words[0].startswith("kafka-") and words[0] not in KAFKA_TOOLS else ""
    command: click.Command = main
    rest = words[1:]
    context = click.Context(command)
    while isinstance(command, click.Group) and rest and (found := command.get_command(context, rest[0])) is not None:
        command, rest = found, rest[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "--version"}
    options = [each for each in rest if re.match(r"--?[a-zA-Z]", each)]
    if isinstance(command, click.Group) and not command.invoke_without_command and not options:
        return f"cutover has no command {' '.join(words[1:3])}"
    wrong = [f"{' '.join(words[:2])} has no option {each}" for each in options if each not in known]
    return ", ".join([*wrong, *wrong_choices(command, rest)])


def wrong_choices(command: click.Command, rest: list[str]) -> Iterator[str]:
    """Values that an option does not take; words in capitals stand for what the reader fills in."""
    choices = {name: each.type.choices for each in command.params if isinstance(each.type, click.Choice) for name in each.opts}
    for option, value in pairwise(rest):
        if option in choices and not value.isupper() and value not in choices[option]:
            yield f"{option} does not take {value}"


def test_every_command_on_a_page_exists() -> None:
    assert [(page.name, wrong) for page in PAGES for wrong in map(wrong_with, commands(page.read_text())) if wrong] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cutover fly RUN", "cutover has no command fly RUN"),
        ("cutover journal burn RUN", "cutover has no command journal burn"),
        ("cutover rollback PLAN --hard", "cutover rollback has no option --hard"),
        ("kafka-mend.sh --all", "kafka-mend.sh is no tool of Kafka"),
        ("cutover rollback PLAN --to nowhere --reason WORDS", "--to does not take nowhere"),
        ("cutover rollback PLAN --to STAGE --reason WORDS", ""),
        ("cutover journal show RUN --output json", ""),
        ("cutover --version", ""),
    ],
)
def test_a_command_that_does_not_exist_is_named(line: str, wrong: str) -> None:
    assert [wrong_with(each) for each in commands(f"```console\n$ {line}\n```\n")] == [wrong]


def test_going_back_is_described_from_every_stage() -> None:
    table = (runbooks.ROOT / "docs" / "rollback.md").read_text().partition("## What it costs")[2].partition("\n\n**")[0]
    assert [each for each in Stage if f"`{each}`" not in table] == []


def test_every_link_of_a_page_leads_to_a_page_and_its_heading() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())]
    assert [(page.name, link) for page, link in links if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("link", ["nowhere.md", "errors/CUT-FLP-001.md#nothing", "#nothing"])
def test_a_link_that_leads_nowhere_is_named(link: str) -> None:
    assert not leads_somewhere(runbooks.RUNBOOKS / "README.md", link)


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    there = page.parent / path if path else page
    return there.is_file() and (not anchor or anchor in set(anchors(there.read_text())))


def anchors(text: str) -> Iterator[str]:
    """As GitHub names headings."""
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def test_every_id_that_a_page_names_is_one_of_ours() -> None:
    known = {Path(each.path).stem for each in runbooks.subjects()}
    named = {(page.name, found) for page in PAGES for found in re.findall(r"CUT-[A-Z]{3}-\d{3}", page.read_text())}
    assert {each for each in named if each[1] not in known} == set()


def test_a_page_that_shows_an_error_shows_its_own_first() -> None:
    shown = {page.stem: re.search(r"error (CUT-[A-Z]{3}-\d{3}):", page.read_text()) for page in PAGES if page.parent.name == "errors"}
    assert {name: found[1] for name, found in shown.items() if found and found[1] != name} == {}
