"""`cutover plan`: check, show, name and begin a plan."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from cutover import plan as plans
from cutover import wiring
from cutover.cli.connection_options import connection_options, connection_words
from cutover.connection import Connection
from cutover.errors import PlanFileExists, PlanUnreadable
from cutover.plan.draft import Wanted, draft
from cutover.plan.lint import Report
from cutover.plan.survey import survey

SCHEMA_VERSION = 1
WRONG = 2
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def plan() -> None:
    """Check, show, name and begin a plan: the file that says what is moved, who is concerned, and what may be spent."""


@plan.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def lint(ctx: click.Context, files: tuple[Path, ...], output: str) -> None:
    """Say everything that is wrong with the files, each with its line and column. No cluster is asked.

    Exit code 2 if there is an error; notes stop nothing.
    """
    reports = [plans.lint(each, os.environ) for each in files]
    if output == "json":
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "files": [_document(each) for each in reports]}))
    else:
        for words in (words for each in reports for words in _lines(each)):
            click.echo(words)
    ctx.exit(WRONG if any(each.errors for each in reports) else 0)


@plan.command()
@click.argument("file", type=FILE)
@click.option("--resolved", is_flag=True, help="With every default.")
@click.option("--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def show(file: Path, output: str, *, resolved: bool) -> None:
    """Print the plan as it is understood: variables filled in, and with --resolved every default. It is a plan again."""
    loaded = plans.load(file, os.environ)
    values = plans.resolved(loaded) if resolved else plans.written(loaded)
    click.echo(json.dumps(values, indent=2) if output == "json" else _yaml(values), nl=output == "json")


@plan.command()
@click.argument("file", type=FILE)
def digest(file: Path) -> None:
    """Print the SHA-256 of the resolved plan: what approvals are bound to."""
    click.echo(plans.digest(plans.load(file, os.environ)))


@plan.command()
def schema() -> None:
    """Print the JSON Schema of a plan, for editors."""
    click.echo(json.dumps(plans.schema(), indent=2))


@plan.command()
@click.option("--from-topic", "topic", required=True, metavar="S", help="The topic that is to be moved.")
@click.option("--to", "target", metavar="T", help="The topic that is to be created [default: S.v2].")
@click.option("--partitions", type=click.IntRange(min=1), help="How many it gets [default: four times as many, at least 12].")
@click.option("-o", "--out", type=FILE, metavar="FILE", help="Write it here [default: to the terminal].")
@connection_options
def new(connection: Callable[[], Connection], topic: str, target: str | None, partitions: int | None, out: Path | None) -> None:
    """Write a first plan from what the cluster shows of a topic. Nothing is changed there."""
    to = connection()
    if out is not None and out.exists():
        raise PlanFileExists(f"{out} is there already", file=str(out))
    with wiring.cluster(to) as cluster:
        seen = survey(cluster, wiring.reader(to), topic)
    text = draft(seen, Wanted(_cluster(to), target, partitions))
    plans.understand(text, str(out or "the new plan"), {})
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text)
    click.echo(f"wrote {out}; next: name the producers and the owners in it, then run: cutover plan lint {out}", err=True)


def _cluster(to: Connection) -> dict[str, str]:
    """How the plan names the cluster that these options reached."""
    words = connection_words()
    if "--profile" in words:
        return {"profile": words[words.index("--profile") + 1]}
    return {"bootstrap": ",".join(to.bootstrap_servers)}


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise PlanFileExists(f"{out} is there already", file=str(out)) from error
    except OSError as error:
        raise PlanUnreadable(f"{out} cannot be written", why=error.strerror or str(error), file=str(out)) from error


def _lines(report: Report) -> list[str]:
    lines = [*map(str, report.errors), *(f"{each} (note)" for each in report.notes)]
    if report.plan is not None and not report.errors:
        lines.append(f"{report.file}: in order, digest {plans.digest(report.plan)}")
    return lines


def _document(report: Report) -> dict[str, Any]:
    return {
        "file": report.file,
        "digest": plans.digest(report.plan) if report.plan is not None else None,
        "errors": [_finding(each) for each in report.errors],
        "notes": [_finding(each) for each in report.notes],
    }


def _finding(found: plans.Finding) -> dict[str, Any]:
    return {"line": found.place.line, "column": found.place.column, "path": found.path, "what": found.what}


def _yaml(values: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    return text
