"""A command that is proposed reaches the cluster that this one reached."""

import click
from click.testing import CliRunner

from cutover.cli.connection_options import connection_options, connection_words


@click.command()
@connection_options
def asked(connection: object) -> None:
    del connection
    click.echo(" ".join(connection_words()))


def test_the_options_are_given_again_as_they_were() -> None:
    given = ["--bootstrap", "a:1,b:2", "--profile", "prod", "--config", "client.properties", "-X", "sasl.password=env:PW"]
    assert CliRunner().invoke(asked, given).stdout.split() == given


def test_nothing_given_is_nothing_again() -> None:
    assert CliRunner().invoke(asked, []).stdout.split() == []
