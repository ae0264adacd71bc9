"""Logs are hostile text."""

from __future__ import annotations

from pathlib import Path

from mlipilot.jobs.logs import failure_reason, progress


def _attempt(tmp_path: Path, stdout: str, stderr: str = "") -> Path:
    (tmp_path / "stdout.log").write_text(stdout)
    (tmp_path / "stderr.log").write_text(stderr)
    return tmp_path


def test_escape_sequences_do_not_pass(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2JValueError: \u202eevil " + "x" * 900
    reason = failure_reason(_attempt(tmp_path, "", hostile))
    assert reason is not None and reason.startswith("ValueError: evil") and len(reason) <= 200


def test_the_reason_is_the_failed_event_else_the_last_error_line(tmp_path: Path) -> None:
    event = '{"event": "failed", "reason": "loss is NaN at step 12"}\n'
    assert failure_reason(_attempt(tmp_path, "noise\n" + event + "more\n", "Err")) == "loss is NaN at step 12"
    assert failure_reason(_attempt(tmp_path, "", "Traceback\nValueError: bad\n\n")) == "ValueError: bad"
    assert failure_reason(tmp_path / "missing") is None


def test_progress_survives_nonsense(tmp_path: Path) -> None:
    lines = '{"event": "progress", "step": 5, "steps_total": 10, "valid_force_mae_mev_per_a": 12.34}\n'
    assert progress(_attempt(tmp_path, lines + '{"event": ["x"]}\n[1\n' + "[" * 5000 + "\n")) == (
        0.5,
        "step 5/10, force MAE 12.3 meV/Å",
    )
    bad = '{"event": "progress", "step": "5", "steps_total": 0}\n{"event": "progress", "step": 1e400}\n'
    assert progress(_attempt(tmp_path, bad)) == (None, "")
