"""Positions of groups as the CSV that `kafka-consumer-groups --reset-offsets --from-file` reads.

One group: topic,partition,offset. Several: group,topic,partition,offset. The tool takes the number of fields from the options that
it is called with (one --group or several, --all-groups), so the two forms are not mixed.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where one group stands on one topic."""

    group: str
    topic: str
    positions: Mapping[int, int]


def text(checkpoints: Sequence[Checkpoint], *, with_group: bool | None = None) -> str:
    """The file's content. `with_group`: whether each line begins with the group; by default when there are several groups."""
    named = len({each.group for each in checkpoints}) > 1 if with_group is None else with_group
    if not named and len({each.group for each in checkpoints}) > 1:
        raise ValueError("positions of several groups need the group on each line")
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    for each in checkpoints:
        for partition, offset in sorted(each.positions.items()):
            lines.writerow([*([each.group] if named else []), each.topic, partition, offset])
    return out.getvalue()


def write(path: Path, checkpoints: Sequence[Checkpoint], *, with_group: bool | None = None) -> None:
    """Write the file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text(checkpoints, with_group=with_group), encoding="utf-8")
    os.replace(part, path)
