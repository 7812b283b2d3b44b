"""How a command is told which cluster is meant: the same options everywhere, merged into one Connection."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cutover.connection import Connection

WORDS = "cutover.connection_words"


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --bootstrap, --profile, --config and -X; the command gets `connection`, a Connection, in their place.

    Nothing is read or refused before the command asks: `connection()` raises what is wrong with the options. `connection_words`
    gives them again, for a command that is proposed.
    """

    @click.option("--bootstrap", metavar="HOST:PORT[,...]", help="Brokers to begin with.")
    @click.option("--profile", metavar="NAME", help="A profile of the config file (~/.config/cutover/config.toml).")
    @click.option(
        "--config",
        "properties_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="librdkafka or Java client properties.",
    )
    @click.option("-X", "overrides", multiple=True, metavar="KEY=VALUE", help="One property more; secrets as env:NAME or file:/path.")
    @wraps(command)
    def connected(
        *args: object,
        bootstrap: str | None,
        profile: str | None,
        properties_file: Path | None,
        overrides: tuple[str, ...],
        **kwargs: object,
    ) -> object:
        click.get_current_context().meta[WORDS] = _words(bootstrap, profile, properties_file, overrides)

        def connection() -> Connection:
            return Connection.load(bootstrap=bootstrap, profile=profile, properties_file=properties_file, overrides=overrides)

        return command(*args, connection=connection, **kwargs)

    return connected


def connection_words() -> list[str]:
    """The options as the operator gave them. No secret stands there: `-X` takes only references to one."""
    return list(click.get_current_context().meta[WORDS])


def _words(bootstrap: str | None, profile: str | None, properties_file: Path | None, overrides: tuple[str, ...]) -> list[str]:
    named = (("--bootstrap", bootstrap), ("--profile", profile), ("--config", properties_file))
    words = [word for flag, value in named if value is not None for word in (flag, str(value))]
    return words + [word for each in overrides for word in ("-X", each)]
