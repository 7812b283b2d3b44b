"""cutover's own client holds every case; one that is careless on purpose is found out."""

import sys
from collections.abc import Callable

import pytest

from tests.conformance.cases import (
    CASES,
    Stage,
    an_instance_that_starts_in_a_hold_waits,
    nothing_is_written_while_held_and_then_the_target,
    stage,
)

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
OURS = f"{sys.executable} -m tests.conformance.client"
CARELESS = f"{sys.executable} -m tests.conformance.careless"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_python_client_conforms(bootstrap: str, case: Callable[[Stage], None]) -> None:
    with stage(OURS, bootstrap) as here:
        case(here)


@pytest.mark.parametrize("case", [nothing_is_written_while_held_and_then_the_target, an_instance_that_starts_in_a_hold_waits])
def test_a_client_that_acknowledges_without_stopping_is_found_out(bootstrap: str, case: Callable[[Stage], None]) -> None:
    with pytest.raises(AssertionError), stage(CARELESS, bootstrap) as here:
        case(here)
