"""What verify says of files that no manifest holds, on runs without training."""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.verify import verify_run
from mlipilot.campaign.paths import JobKey
from tests.report.synthetic import SyntheticRun, make_spec


def test_a_sealed_check_that_was_lost_is_no_fault_of_the_run(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    attempt = made.start(JobKey(0, 1, "sealed"))
    (attempt / "stdout.log").write_text("half a line")
    body = {"iteration": 0, "seed": 1, "job": "sealed", "attempt": 1, "outcome": "lost"}
    body |= {"cpu_s": 0.0, "gpu_s": 0.0, "wall_s": 0.0, "job_id": None, "manifest_sha256": None}
    made.ledger.append("job_finished", body)
    made.end("a test")
    found = verify_run(made.run)
    assert not any("sealed-check" in problem for problem in found.problems)
    assert f"{attempt}: lost without a seal; what it left is not checked" in found.notes
    (attempt.parent / "attempt-2").mkdir()
    (attempt.parent / "attempt-2" / "stdout.log").write_text("of no record")
    assert any("attempt-2/stdout.log: no record" in problem for problem in verify_run(made.run).problems)
