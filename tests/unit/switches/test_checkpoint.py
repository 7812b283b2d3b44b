"""The file of positions: one group or several, as Kafka's own tool reads it (it is really run by tests/integration)."""

from pathlib import Path

import pytest

from cutover.switches.checkpoint import Checkpoint, text, write

ORDERS = Checkpoint("balances", "orders.v2", {10: 3, 2: 7})
MAIL = Checkpoint("notifications", "orders.v2", {0: 1})


def test_one_group_is_left_out_of_its_lines() -> None:
    assert text([ORDERS]) == "orders.v2,2,7\norders.v2,10,3\n"


def test_several_groups_are_named_on_each_line() -> None:
    assert text([ORDERS, MAIL]) == "balances,orders.v2,2,7\nbalances,orders.v2,10,3\nnotifications,orders.v2,0,1\n"


def test_several_groups_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="several groups"):
        text([ORDERS, MAIL], with_group=False)


def test_a_name_with_a_comma_is_quoted() -> None:
    assert text([Checkpoint("a,b", "t", {0: 1})], with_group=True) == '"a,b",t,0,1\n'


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "positions.csv"
    path.write_text("older")
    write(path, [ORDERS])
    assert (path.read_text(), [each.name for each in tmp_path.iterdir()]) == (text([ORDERS]), ["positions.csv"])
