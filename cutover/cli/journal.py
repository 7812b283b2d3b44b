"""cutover journal show|verify|head|runs: what was meant, done and found, and whether it is still what was written."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cutover.cli.journal_option import journal_option

if TYPE_CHECKING:
    from cutover.journal import Entry, Head, RunRow

GIST_WIDTH = 110


def _head(ctx: click.Context, parameter: click.Parameter, value: str | None) -> "Head | None":
    """SEQ:HASH as `cutover journal head` prints it."""
    if value is None:
        return None
    seq, _, digest = value.strip().partition(":")
    if not seq.isdecimal() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise click.BadParameter(f"{value!r} is not SEQ:HASH as cutover journal head prints it", ctx, parameter)
    return int(seq), digest


@click.group()
def journal() -> None:
    """The journal of runs: every intent, outcome and decision, each entry chained to the one before it."""


@journal.command()
@click.argument("run")
@click.option("--after", type=int, default=-1, metavar="SEQ", help="Only the entries behind this one.")
@click.option("--output", type=click.Choice(["text", "json", "ndjson"]), default="text", show_default=True)
@journal_option
def show(run: str, after: int, output: str, journal_url: str | None) -> None:
    """Show the entries of RUN, oldest first. They are read, not verified: see verify."""
    from cutover.journal import Journal

    with Journal.open(journal_url) as opened:
        entries = opened.entries(run, after)
    documents = [_document(entry) for entry in entries]
    if output == "json":
        click.echo(json.dumps({"schema_version": 1, "run": run, "entries": documents}, indent=2))
        return
    for entry, document in zip(entries, documents, strict=True):
        click.echo(json.dumps({"schema_version": 1, **document}) if output == "ndjson" else _line(entry))


@journal.command()
@click.argument("run")
@click.option(
    "--head", callback=_head, metavar="SEQ:HASH", help="A head that was exported earlier: finds entries cut off or rewritten since."
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@journal_option
def verify(run: str, head: "Head | None", output: str, journal_url: str | None) -> None:
    """Check every link of the chain of RUN; exit code 5 names the first entry that does not hold."""
    from cutover.journal import Journal

    with Journal.open(journal_url) as opened:
        seq, digest = opened.verify(run, head)
    if output == "json":
        document = {
            "schema_version": 1,
            "run": run,
            "entries": seq + 1,
            "head": f"{seq}:{digest}",
            "against_exported_head": head is not None,
        }
        click.echo(json.dumps(document))
        return
    click.echo(f"{run}: {seq + 1:,} entries, every link holds; head {seq}:{digest}")
    if head is None:
        click.echo(
            "a history rewritten as a whole is found only with --head SEQ:HASH, kept where the journal's writers cannot write", err=True
        )


@journal.command()
@click.argument("run")
@journal_option
def head(run: str, journal_url: str | None) -> None:
    """Print SEQ:HASH of the last entry of RUN. Keep it where the journal's writers cannot write."""
    from cutover.journal import Journal

    with Journal.open(journal_url) as opened:
        seq, digest = opened.head(run)
    click.echo(f"{seq}:{digest}")


@journal.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@journal_option
def runs(output: str, journal_url: str | None) -> None:
    """List the runs, in the order they were begun."""
    from cutover.journal import Journal

    with Journal.open(journal_url) as opened:
        known = opened.runs()
        drivers = {each.pair: opened.holder(each.pair) for each in known}
    holders = {pair: found.holder if found else None for pair, found in drivers.items()}
    if output == "json":
        documents = [_run_document(each, holders[each.pair]) for each in known]
        click.echo(json.dumps({"schema_version": 1, "runs": documents}, indent=2))
        return
    for each in known:
        click.echo(_run_line(each, holders[each.pair]))
    if not known:
        click.echo("no run was begun in this journal", err=True)


def _document(entry: "Entry") -> dict[str, Any]:
    return {**asdict(entry), "at": entry.at.isoformat(timespec="milliseconds")}


def _run_document(run: "RunRow", driver: str | None) -> dict[str, Any]:
    """Without the plan: entry 0 has it."""
    document = asdict(run)
    del document["plan"]
    return {**document, "driver": None if run.ended_at_ms is not None else driver}


def _run_line(run: "RunRow", driver: str | None) -> str:
    from cutover.journal import moment

    if run.ended_at_ms is not None:
        state = f"ended {_time(moment(run.ended_at_ms))}"
    else:
        state = f"driven by {driver}" if driver else "nobody drives it"
    return _plain(f"{run.run:<30} {run.pair:<30} begun {_time(moment(run.begun_at_ms))}  {run.head_seq + 1:>6,} entries  {state}")


def _line(entry: "Entry") -> str:
    """Sequence, time, stage, step, kind, gist."""
    gist = _gist(entry.body)
    return _plain(f"{entry.seq:>6}  {_time(entry.at)}  {entry.stage:<17} {entry.step:<22} {entry.kind:<8}  {gist}").rstrip()


def _time(at: Any) -> str:  # noqa: ANN401 - a datetime
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _gist(body: dict[str, Any]) -> str:
    failed = body.get("failed")
    if isinstance(failed, dict) and "what" in failed:
        words = f"FAILED {failed.get('id', '')}: {failed['what']}"
    else:
        words = "  ".join(f"{name}={_value(value)}" for name, value in body.items())
    return words if len(words) <= GIST_WIDTH else words[: GIST_WIDTH - 1] + "…"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _plain(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
