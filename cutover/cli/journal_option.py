"""How a command is told which journal is meant: the same option everywhere."""

from collections.abc import Callable
from typing import Any

import click


def journal_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --journal; the command gets `journal_url`, which Journal.open takes (None: the default file)."""
    return click.option(
        "--journal",
        "journal_url",
        envvar="CUTOVER_JOURNAL",
        metavar="URL",
        help="sqlite:////PATH or postgresql+psycopg://USER@HOST/DATABASE (password from PGPASSFILE, or env:NAME, file:/PATH in its place)."
        " [env: CUTOVER_JOURNAL; default: ~/.local/state/cutover/journal.db]",
    )(command)
