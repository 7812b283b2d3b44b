"""A cut while producers go on: the walls stand at an end that no worker has read past."""

import pytest

from cutover.engine.keeper import walled
from cutover.errors import WallPassed


def test_walls_that_a_worker_has_read_past_are_put_further_on() -> None:
    ends, put = iter([{0: 121}, {0: 122}, {0: 130}]), []

    def drain_to(walls: dict[int, int]) -> None:
        put.append(walls)
        if walls[0] < 122:
            raise WallPassed("partition 0 was read up to 122, past the wall at 121")

    assert walled(lambda: next(ends), drain_to, 5.0) == {0: 122}
    assert put == [{0: 121}, {0: 122}]


def test_workers_that_never_stand_still_are_no_cut() -> None:
    def drain_to(_: dict[int, int]) -> None:
        raise WallPassed("read past it")

    with pytest.raises(WallPassed):
        walled(lambda: {0: 1}, drain_to, 0.01)
