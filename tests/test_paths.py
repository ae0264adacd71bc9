"""What the files of a run say by being there."""

from __future__ import annotations

from pathlib import Path

from mlipilot.paths import RunPaths


def test_a_run_with_an_image_goes_on_by_sbatch_and_any_other_by_resume(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    assert run.resuming() == f"`mlipilot resume {tmp_path}`"
    assert run.resuming(2) == f"`mlipilot resume {tmp_path} --lineage 2`"
    run.image_digest.touch()
    assert run.resuming() == run.resuming(2) == "`sbatch` of its campaign's sbatch file"
