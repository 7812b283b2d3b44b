"""The rules together: a sound topic is let through, the worst comes first, every id is one rule's and explained on the page."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cutover import preflight
from cutover.preflight import RULES, Finding, Severity, findings, standing_in_the_way
from tests.unit.preflight.scene import Scene, configs, plan

ROOT = Path(__file__).parents[3]
RULE_FILES = sorted(each for each in (ROOT / "cutover" / "preflight").glob("*.py") if "def judge" in each.read_text())
PAGE = ROOT / "docs" / "preflight.md"
ID = re.compile(r"CUT-PRE-\d{3}")


def test_nothing_stands_in_the_way_of_a_sound_topic_and_a_plan_that_fits_it() -> None:
    found = findings(plan(), Scene().look())
    assert standing_in_the_way(found, ()) == ()
    assert {each.severity for each in found} == {Severity.NOTE}


def constants(rule: Path) -> list[str]:
    """The ids that a file gives a name to, which must be all that it writes."""
    named = [number for line in re.findall(r"^[A-Z_, ]+ = .*$", rule.read_text(), re.MULTILINE) for number in ID.findall(line)]
    assert named == ID.findall(rule.read_text())
    return named


def test_every_file_with_a_rule_is_in_the_table() -> None:
    assert sorted(Path(str(rule.__code__.co_filename)).name for rule in RULES) == [each.name for each in RULE_FILES]


def test_every_id_is_a_constant_of_one_file_and_unique() -> None:
    told = [number for each in RULE_FILES for number in constants(each)]
    assert {number: times for number, times in Counter(told).items() if times > 1} == {}
    assert sorted(told) == [f"CUT-PRE-{number:03}" for number in range(1, len(told) + 1)]


def test_the_worst_comes_first_and_then_the_lower_id() -> None:
    seen = Scene(replicas=1).look()
    spoiled = replace(seen, configs=configs(seen.configs, unclean__leader__election__enable="true"), features={})
    found = findings(plan(partitioner="crc32", producers=[]), spoiled)
    ranks = [(list(Severity).index(each.severity), each.id) for each in found]
    assert ranks == sorted(ranks)
    assert {each.severity for each in found} == set(Severity)


def test_a_red_finding_stands_in_the_way_even_if_it_is_acknowledged_and_an_amber_one_until_it_is() -> None:
    red, amber, note = (Finding(severity.value, severity, "", "") for severity in Severity)
    assert standing_in_the_way((red, amber, note), ()) == (red, amber)
    assert standing_in_the_way((red, amber, note), ("red", "amber", "note")) == (red,)


def test_a_finding_is_told_as_json_values() -> None:
    assert Finding("CUT-PRE-001", Severity.RED, "what", "why", "next", {"n": 1}).document() == {
        "id": "CUT-PRE-001",
        "severity": "red",
        "what": "what",
        "why": "why",
        "next": "next",
        "facts": {"n": 1},
    }


def page_rows(page: str = "") -> dict[str, tuple[str, str]]:
    """Of each id on the page: its severity, and the file that the row names."""
    rows = re.findall(r"^\| `(CUT-PRE-\d{3})` \| ([a-z ]+) \| `(\w+)` \|", page or PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len({number for number, _, _ in rows}), "an id stands twice on the page"
    return {number: (severity, rule) for number, severity, rule in rows}


def test_a_row_that_is_missing_from_the_page_or_stands_there_twice_is_found() -> None:
    first, *others = [line for line in PAGE.read_text().splitlines() if line.startswith("| `CUT-PRE")]
    assert len(page_rows("\n".join(others))) == len(page_rows()) - 1
    with pytest.raises(AssertionError):
        page_rows("\n".join([first, first, *others]))


def test_the_page_explains_exactly_the_ids_that_there_are() -> None:
    in_code = {number: each.stem for each in RULE_FILES for number in constants(each)}
    assert {number: rule for number, (_, rule) in page_rows().items()} == in_code


@pytest.mark.parametrize("rule", RULE_FILES, ids=lambda each: each.stem)
def test_the_page_gives_the_severities_that_a_rule_uses(rule: Path) -> None:
    told = {severity for severity, name in page_rows().values() if name == rule.stem}
    used = {word.lower() for word in re.findall(r"Severity\.([A-Z]+)", rule.read_text())}
    assert used <= set(map(str, Severity))
    assert {word for each in told for word in each.split(" or ")} == used


def test_the_package_says_what_may_be_imported() -> None:
    assert all(hasattr(preflight, name) for name in preflight.__all__)
