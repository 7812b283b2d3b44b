"""The stages of a run, one file each with the same parts; the table here is all that the driver knows of them."""

from collections.abc import Mapping

from cutover.lifecycle import Stage
from cutover.stages import (
    approved,
    checked,
    completed,
    dual_writing,
    moving_groups,
    planned,
    provisioned,
    soaking,
    switching_writes,
    synchronized,
    synchronizing,
)
from cutover.stages.acts import Acts
from cutover.stages.every_pair import EveryPair

STAGES: Mapping[Stage, Acts] = {
    Stage.PLANNED: planned,
    Stage.CHECKED: checked,
    Stage.APPROVED: approved,
    Stage.PROVISIONED: EveryPair(provisioned),
    Stage.SYNCHRONIZING: EveryPair(synchronizing),
    Stage.SYNCHRONIZED: EveryPair(synchronized),
    Stage.DUAL_WRITING: dual_writing,
    Stage.MOVING_GROUPS: moving_groups,
    Stage.SWITCHING_WRITES: switching_writes,
    Stage.SOAKING: EveryPair(soaking),
    Stage.COMPLETED: EveryPair(completed),
}
"""Those that are named by themselves look at all pairs at once; the others are every pair's own."""

__all__ = ["STAGES", "Acts"]
