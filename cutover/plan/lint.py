"""What is to be said about a plan before anything is asked of a cluster: errors, and notes that stop nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Final

from cutover.errors import PlanInvalid
from cutover.plan.model import Plan
from cutover.plan.reading import Finding, read
from cutover.plan.source import Place
from cutover.plan.wrong import Wrong

UNNAMED: Final = "to-be-named"
"""The owner in a plan that was written from a cluster, until somebody says who it is."""


@dataclass(frozen=True, slots=True)
class Report:
    """A linted file; `plan` is None where it has errors of its own."""

    file: str
    plan: Plan | None
    errors: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()


def lint(path: File, environ: Mapping[str, str]) -> Report:
    """Everything about one file; raises PlanUnreadable."""
    try:
        loaded = read(path, environ)
    except PlanInvalid as error:
        found = error.fields["errors"]
        return Report(
            str(path), None, tuple(Finding(each["file"], Place(each["line"], each["column"]), each["path"], each["what"]) for each in found)
        )
    return Report(str(path), loaded.plan, (), tuple(map(loaded.finding, notes(loaded.plan))))


def notes(plan: Plan) -> Iterator[Wrong]:
    """What is in order and deserves a second look."""
    if plan.way_back == "none":
        yield Wrong(("way_back",), "is none: once the writes are switched a rollback is refused, whatever is found then")
    if not plan.producers:
        yield Wrong(("producers",), "names nobody: whoever writes the source is then a straggler")
    for kind, entries in (("producers", plan.producers), ("groups", plan.groups)):
        for number, each in enumerate(entries):
            if each.owner == UNNAMED:
                yield Wrong((kind, number, "owner"), f"is not named yet: say which team answers for {each.name}")
    for number, group in enumerate(plan.groups):
        if group.hand_off == "at_least_once" and not group.max_duplicates:
            yield Wrong(("groups", number), f"allows {group.name} no record again: a move that would repeat any waits for a number here")
