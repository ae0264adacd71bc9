"""What Slurm billed, beside our own count: per iteration, in total, or that there are no accounts."""

from __future__ import annotations

import json

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.paths import RunPaths
from mlipilot.report.billing_rows import NO_ACCOUNTS, billed_notes, billed_rows
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.status_json import iteration_dict, status_dict, status_line
from mlipilot.report.view import LineageView
from tests.audit.test_accounts import COLUMNS
from tests.report.conftest import view_of


def _row(
    number: int,
    name: str,
    *,
    task: str = "",
    hours: float = 1,
    gpus: int = 0,
    wait_s: int = 30,
    cores: int = 2,
) -> str:
    elapsed_s = round(hours * 3600)
    times = f"2026-11-29T10:00:00|2026-11-29T10:00:00|2026-11-29T10:00:{wait_s:02}|2026-11-29T12:00:00"
    given = f"cpu={cores},mem=1000M" + (f",gres/gpu={gpus}" if gpus else "")
    seconds = f"{elapsed_s}|{cores}|{cores * elapsed_s}"
    job = f"{number}|{task or number}|{name}|COMPLETED|{times}|{seconds}|00:00||1000M|{given}|/x"
    used = f"{elapsed_s // 3600:02}:{elapsed_s // 60 % 60:02}:{elapsed_s % 60:02}"  # one core of them
    return f"{job}\n{number}.batch|{number}.batch|batch|COMPLETED|{times}|{seconds}|{used}|250M||{given}|"


def _account(run: RunPaths, *rows: str, kept: bool = True) -> LineageView:
    """Slurm's word on a run, where the submitter leaves it."""
    run.spool.mkdir(exist_ok=True)
    head = f"time=1796000000 begun=1795000000 accounting={int(kept)}"
    (run.spool / "accounts").write_text("\n".join([head, *([COLUMNS] if kept else []), *rows]) + "\n")
    return view_of(run)


@pytest.fixture
def billed(run: RunPaths) -> LineageView:
    """A run with two jobs of the baseline, one of which was started twice, and others around them."""
    head = read_ledger(run.lineage(0).ledger)[0].hash[:16]
    return _account(
        run,
        _row(1, f"mlp-{head}-l0.0000.s1.t.a1", hours=2, gpus=1),
        _row(2, f"mlp-{head}-l0.0000.s2.t.a1", hours=1, wait_s=10),
        _row(2, f"mlp-{head}-l0.0000.s2.t.a1", hours=1, wait_s=20),
        _row(3, f"mlp-{head}-l0.0001-1.smoke.a1"),
        _row(4, f"mlp-{head}-l0.sealed.0002.s1.a1"),
        _row(5, f"mlp-{head}-endpoint.a1", hours=9),
        _row(6, f"mlp-{head}-l1.0000.s1.t.a1", hours=50),  # another lineage's
        _row(7, f"mlp-{'0' * 16}-l0.0000.s1.t.a1", hours=50),  # of a run that was here before
        _row(18, "mlipilot-cu_emt", task="17_0", cores=1, hours=4),
        _row(19, "mlipilot-cu_emt", task="17_1", cores=1, hours=50),
    )


def test_each_start_is_counted_in_its_iteration(billed: LineageView) -> None:
    rows = {row.what: row for row in billed_rows(billed)}
    assert list(rows) == [
        *("baseline", "iteration 1", "sealed check", "controllers", "total", "the run's model, besides")
    ]
    assert (rows["baseline"].jobs, rows["baseline"].starts) == (2, 3)
    assert (rows["baseline"].core_h, rows["baseline"].gpu_h, rows["baseline"].wait) == ("8", "2", "20 s")
    assert (rows["baseline"].core_use, rows["baseline"].memory_use) == ("50 %", "25 %")
    assert rows["controllers"].core_h == "4" and rows["controllers"].core_use == "100 %"
    assert rows["total"].core_h == "16"
    assert billed.baseline is not None
    assert float(rows["baseline"].own_cpu_h) == pytest.approx(billed.baseline.cost.cpu_s / 3600, rel=0.01)


def test_status_and_show_tell_it(billed: LineageView) -> None:
    found = json.loads(json.dumps(status_dict(billed), allow_nan=False))
    assert found["accounts"]["total"]["billed_core_hours"] == 16.0
    assert found["accounts"]["total"]["billed_gpu_hours"] == 2.0
    assert found["accounts"]["iterations"]["0"]["mean_queue_wait_s"] == 20.0
    assert "16 core-h and 2 GPU-h billed by Slurm, 62% of the cores used" in status_line(found)
    assert iteration_dict(billed, 0)["accounts"]["starts"] == 3
    assert iteration_dict(billed, 2)["accounts"] is None


def test_the_report_has_the_table(billed: LineageView) -> None:
    names = ("progress", "gates", "parity", "training", "dynamics")
    pictures = [Picture(name, name, "A caption.", b"light", b"dark") for name in names]
    said = context(billed, pictures, Export(missing="it is a test"))
    for page in (render_html(said), render_markdown(said)):
        assert "As Slurm billed it" in page and "model, besides" in page
        assert "each start of a job" in page and "as of 2026-11-30" in page
    assert "| total | 5 | 6 | 16 |" in render_markdown(said)


def test_without_accounts_there_is_a_sentence_and_no_figure(run: RunPaths) -> None:
    view = _account(run, kept=False)
    assert billed_rows(view) == [] and billed_notes(view) == [NO_ACCOUNTS]
    found = status_dict(view)
    assert found["accounts"] == {"kept": False} and "Slurm keeps no accounts here" in status_line(found)


def test_local_processes_say_nothing_of_slurm(view: LineageView) -> None:
    assert billed_rows(view) == [] and billed_notes(view) == [] and status_dict(view)["accounts"] is None
    assert "Slurm" not in status_line(status_dict(view))


def test_where_slurm_measures_nothing_no_figure_is_made_up(run: RunPaths) -> None:
    head = read_ledger(run.lineage(0).ledger)[0].hash[:16]
    job, _ = _row(1, f"mlp-{head}-l0.0000.s1.t.a1").split("\n")
    view = _account(run, job)
    (row, total) = billed_rows(view)
    assert (row.core_use, row.memory_use) == ("—", "—") and total.core_h == "2"
    assert {"Slurm does not measure memory here."} < set(billed_notes(view))
