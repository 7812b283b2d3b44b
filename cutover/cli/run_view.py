"""What an operator sees of a run: one line each second that is renewed in place, or one line each ten seconds, or JSON events."""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cutover import board
from cutover.lifecycle import Seen, Stage, due
from cutover.prices import Price
from cutover.world import World

PLAIN_SECONDS = 10.0
LIVE_SECONDS = 0.5
EVENT_SECONDS = 1.0


class View(Protocol):
    """Shows how the run stands."""

    def show(self, world: World, seen: Seen | None) -> None:
        """The state now; called often."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End."""


def choose(output: str) -> View:
    """JSON where asked for, a live line on a terminal, else plain lines."""
    if output == "ndjson":
        return Events()
    if sys.stderr.isatty() and os.environ.get("CI", "").lower() != "true" and os.environ.get("TERM") != "dumb":
        return Screen()
    return Lines()


@dataclass(slots=True)
class Lines:
    """One line whenever what it waits for changes, and each ten seconds."""

    every_seconds: float = PLAIN_SECONDS
    _last: float = 0.0
    _words: str = ""

    def show(self, world: World, seen: Seen | None) -> None:
        """Say it if it is new or time."""
        stage = f"{world.history.standing.stage}"
        if time.monotonic() - self._last < self.every_seconds and stage == self._words:
            return
        self._last, self._words = time.monotonic(), stage
        click.echo(f"{time.strftime('%H:%M:%S')} {board.line(board.document(world, seen))}", err=True)

    def __enter__(self) -> Self:
        """Nothing to set up."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to take down."""


@dataclass(slots=True)
class Events:
    """One JSON object each second on stdout."""

    _last: float = 0.0

    def show(self, world: World, seen: Seen | None) -> None:
        """Print the document if it is time."""
        if time.monotonic() - self._last >= EVENT_SECONDS:
            self._last = time.monotonic()
            click.echo(json.dumps({"event": "status", "at": time.time(), **board.document(world, seen)}))

    def __enter__(self) -> Self:
        """Nothing to set up."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to take down."""


@dataclass(slots=True)
class Screen:
    """One line that is renewed in place, below what was said."""

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _live: Live = field(init=False)
    _last: float = 0.0

    def __enter__(self) -> Self:
        """Take the last line of the terminal."""
        self._live = Live("", console=self.console, refresh_per_second=4, transient=True)
        self._live.start()
        return self

    def show(self, world: World, seen: Seen | None) -> None:
        """Renew the line."""
        if time.monotonic() - self._last >= LIVE_SECONDS:
            self._last = time.monotonic()
            self._live.update(Text(board.line(board.document(world, seen)), overflow="fold"))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give the line back."""
        self._live.stop()


def tell(words: str) -> None:
    """Something happened."""
    click.echo(f"{time.strftime('%H:%M:%S')} {words}", err=True)


def tell_json(words: str) -> None:
    """The same as an event."""
    click.echo(json.dumps({"schema_version": board.SCHEMA_VERSION, "event": "said", "at": time.time(), "words": words}))


def closing(world: World) -> Iterator[str]:
    """What state the topics are in, and what to type next."""
    yield f"  traffic  {board.traffic(world)}"
    standing = world.history.standing
    depending = sorted({name for each in world.pairs if each.paired for name in each.on_follower})
    if depending:
        yield f"  WARNING  {', '.join(depending)} read what only the mirror fills, and it ends in {world.plan.mirror.grace:g} s"
    if standing.stage is Stage.COMPLETED:
        sources = " and ".join(each.plan.source.topic for each in world.pairs)
        yield f"  next     remove {sources} when nobody is configured with it any more, as a change of its own"
    else:
        back = f", or back: cutover rollback PLAN --reason WORDS (from {standing.stage})" if standing.stage is not Stage.PLANNED else ""
        yield f"  next     cutover run PLAN goes on{back}"


def say_traffic(world: World) -> None:
    """Before an error is told."""
    click.echo(f"  traffic  {board.traffic(world)}", err=True)


def say_price(at: Stage, to: Stage, told: Price) -> None:
    """The price of a rollback."""
    click.echo(f"Rolling back from {at} to {to}:")
    for words in told.lines():
        click.echo(words)


def say_dry_run(world: World, until: str) -> None:
    """Where it stands and what is next."""
    step = due(world.history.standing)
    click.echo(f"{world.plan.cutover} stands in {world.history.standing.stage}; plan {world.plan_digest[:12]}")
    click.echo(f"  would work on {step.stage if step else 'nothing'}, towards {until}")
    click.echo("dry run: nothing was changed")


def document_line(told: dict[str, Any]) -> str:
    """A status document in one line."""
    return board.line(told)


def document_words(told: dict[str, Any]) -> Iterator[str]:
    """A status document for people, a few lines."""
    yield f"{told['run']}: {board.line(told)}"
    yield f"  traffic  {told['traffic']}"
    for each in told.get("pairs", ()):
        yield f"  pair     {each['source']} to {each['target']}: {'; '.join(board.copied(each['copy'])) or 'nothing is copied yet'}"
    for group in told["groups"]:
        again = "" if group["read_again"] is None else f", read again when it moved: {group['read_again']:,}"
        still = ", stopped for its move and not started yet" if group["stands_still"] else ""
        yield f"  group    {group['name']} ({group['owner']}, {group['switch']}): on the {group['side'].lower()}{again}{still}"
    producers = told["producers"]
    joined = producers["joined"]
    yield f"  writers  {len(joined)} of {producers['expected']} instances have joined: {', '.join(joined) or 'nobody'}"
    if told["can_go_back_to"]:
        yield f"  way back {', '.join(told['can_go_back_to'])}"
