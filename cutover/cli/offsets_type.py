"""Offsets on the command line: partition and offset with a colon, commas between them."""

import re
from collections.abc import Mapping

import click

OFFSETS = re.compile(r"(\d+):(\d+)")


class OffsetsType(click.ParamType[Mapping[int, int]]):
    """An option of the form 0:100,1:250."""

    name = "offsets"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Mapping[int, int]:
        """Partition to offset; a usage error for anything else."""
        if isinstance(value, Mapping):
            return value
        pairs = [OFFSETS.fullmatch(each.strip()) for each in str(value).split(",")]
        if not all(pairs):
            self.fail(f"{value!r} is not of the form 0:100,1:250 (partition:offset)", param, ctx)
        return {int(each[1]): int(each[2]) for each in pairs if each}
