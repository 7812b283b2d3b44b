"""What `cutover run` refuses before anything is looked at."""

from pathlib import Path

from click.testing import CliRunner

from cutover.cli import main

PLAN = Path(__file__).parents[3] / "plans" / "smallest.yaml"


def test_a_stage_that_runs_of_this_order_do_not_have_is_refused_and_nothing_is_begun(tmp_path: Path) -> None:
    environment = {"CUTOVER_JOURNAL": f"sqlite:///{tmp_path / 'journal.db'}"}
    said = CliRunner().invoke(main, ["run", str(PLAN), "--until", "dual_writing"], env=environment)
    assert said.exit_code == 1, said.output
    assert "CUT-RUN-001: a run with order groups_first has no stage dual_writing" in said.output
    assert "moving_groups" in said.output
    assert not (tmp_path / "journal.db").exists()
