import json
from pathlib import Path

import pytest

from cutover.rehearsal import judge
from cutover.rehearsal.consuming import RECORD

ACKNOWLEDGED = {(1, 7): 3, (1, 8): 1}
WHOLE = [(0.1, 1, 7, 1), (0.2, 1, 7, 2), (0.3, 1, 8, 1), (0.4, 1, 7, 3)]


def test_everything_once_and_in_order_is_clean() -> None:
    assert judge.judge("g", ACKNOWLEDGED, WHOLE) == judge.Verdict("g", 4, 4, lost=0, twice=0, disordered=0, unknown=0)
    assert judge.judge("g", ACKNOWLEDGED, WHOLE).clean


def test_a_record_that_was_never_given_is_lost() -> None:
    verdict = judge.judge("g", ACKNOWLEDGED, WHOLE[:-1])
    assert verdict.lost == 1
    assert not verdict.clean


def test_a_record_given_again_is_counted_and_breaks_no_order() -> None:
    verdict = judge.judge("g", ACKNOWLEDGED, [*WHOLE, (0.5, 1, 7, 2), (0.6, 1, 7, 3)])
    assert (verdict.twice, verdict.disordered) == (2, 0)


def test_a_record_given_first_after_a_newer_one_of_its_account_is_disordered() -> None:
    given = [(0.1, 1, 7, 1), (0.2, 1, 7, 3), (0.3, 1, 7, 2), (0.4, 1, 8, 1)]
    assert judge.judge("g", ACKNOWLEDGED, given).disordered == 1


def test_time_decides_the_order_whatever_member_wrote_it_down() -> None:
    assert judge.judge("g", ACKNOWLEDGED, list(reversed(WHOLE))).disordered == 0


def test_a_record_that_was_refused_to_its_producer_is_not_missed() -> None:
    given = [each for each in WHOLE if each[3] != 2]
    assert judge.judge("g", ACKNOWLEDGED, given, [(1, 7, 2)]).lost == 0


def test_a_record_that_nobody_was_acknowledged_is_told() -> None:
    assert judge.judge("g", ACKNOWLEDGED, [*WHOLE, (0.5, 1, 9, 1)]).unknown == 1


@pytest.mark.parametrize(("cut", "code"), [(0, 0), (1, 5)])
def test_the_process_judges_a_folder_and_its_exit_code_says_how(
    cut: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = {"accounts": {"7": 3, "8": 1}, "failed": [], "longest_gap_ms": 12.5}
    (tmp_path / "teller-1.acknowledged").write_text(json.dumps(books))
    content = b"".join(RECORD.pack(*each) for each in WHOLE[: len(WHOLE) - cut])
    (tmp_path / "balances.a.read").write_bytes(content + b"torn")
    assert judge.main([str(tmp_path)]) == code
    verdict, gaps = map(json.loads, capsys.readouterr().out.splitlines())
    assert (verdict["group"], verdict["lost"]) == ("balances", cut)
    assert gaps == {"longest_gap_ms": {"teller-1": 12.5}}
