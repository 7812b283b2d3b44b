"""How long a translation of positions takes, over a pair that the mirror has made: the engine's answer, in both directions."""

import random
import time
from dataclasses import dataclass
from typing import Literal

from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.events import CONTROL
from cutover.engine.process import EngineProcess

TRANSLATE_SECONDS = 120
Direction = Literal["origin_to_follower", "follower_to_origin"]
ASKED: tuple[tuple[Direction, bool], ...] = (("origin_to_follower", False), ("origin_to_follower", True), ("follower_to_origin", False))


@dataclass(frozen=True, slots=True)
class Translated:
    """One answer. `seconds` are from the command to its reply; the records that would be read again were counted too, or not."""

    direction: Direction
    counted: bool
    seconds: float
    requests: int
    records: int


def measure(config: MirrorConfiguration, ends: dict[int, int], follower_ends: dict[int, int], repetitions: int) -> list[Translated]:
    """Translate random vectors of a finished run."""
    chance, made = random.Random(1), []
    document = {"connection": dict(config.connection), "transactional_id": ""}
    with EngineProcess.start("control", document, models=CONTROL, quiet_seconds=None) as process:
        for _ in range(repetitions):
            for direction, counted in ASKED:
                limits = ends if direction == "origin_to_follower" else follower_ends
                positions = {number: chance.randint(0, end) for number, end in limits.items()}
                made.append(_translate(process, config, direction, positions, counted=counted))
    return made


def _translate(
    process: EngineProcess, config: MirrorConfiguration, direction: Direction, positions: dict[int, int], *, counted: bool
) -> Translated:
    epoch = {
        "run_id": config.run_id, "epoch": config.epoch, "group": config.group,
        "origin": config.origin.model_dump(mode="json"), "follower": config.follower.model_dump(mode="json"),
    }  # fmt: skip
    began = time.monotonic()
    answer = process.request(
        "translate",
        seconds=TRANSLATE_SECONDS,
        direction=direction,
        epochs=[epoch],
        positions=positions,
        duplicates="count" if counted else "skip",
    )
    return Translated(direction, counted, time.monotonic() - began, answer["requests"], answer["records"])
