"""What the submitter costs, by the benchmark whose figures are in docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import script


@pytest.mark.slow
@pytest.mark.parametrize(("packed", "calls"), [pytest.param(True, 4, marks=pytest.mark.sweep), (False, 24)])
def test_at_rest_a_submitter_asks_seldom_and_takes_hardly_any_of_a_core(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
    calls: int,
) -> None:
    benchmark = script("benchmark_submitter")
    monkeypatch.setattr(benchmark, "AT_REST_S", 40)
    benchmark.measure(tmp_path, 4, packed)
    row = map(float, capsys.readouterr().out.split("|")[1:-1])
    lineages, sbatch, squeue, _, _, queries, percent, files, folded = row
    assert (lineages, sbatch) == (4, calls), "one call a candidate, or one a job"
    assert squeue <= 2 and queries <= 2 and percent <= 1
    assert files >= 3 * sbatch and folded == files - 3 * sbatch + 1, (
        "requests, intents and receipts are one file"
    )
