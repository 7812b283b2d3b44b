"""The pages hold together: every link leads somewhere, every command they name exists, every error id they name is one of ours."""

import re
from pathlib import Path

import click
import pytest

from cutover import errors
from cutover.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = {each.id for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CutoverError)}
FINDINGS = {found for rule in (ROOT / "cutover" / "preflight").glob("*.py") for found in re.findall(r"CUT-PRE-\d{3}", rule.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?:`|\$ )cutover ([a-z]+)\b", page.read_text()))
    assert named - set(main.list_commands(click.Context(main))) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_id_of_an_error_or_a_finding_that_a_page_names_is_one_of_ours(page: Path) -> None:
    assert set(re.findall(r"CUT-[A-Z]{3}-\d{3}", page.read_text())) - IDS - FINDINGS == set()


def test_no_two_errors_share_an_id() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CutoverError)]
    ids = [each.id for each in kinds if "id" in vars(each)]
    assert sorted(ids) == sorted(set(ids))


def test_every_make_target_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)`|\$ make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {first or second for first, second in named} - set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) == set()
