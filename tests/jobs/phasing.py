"""The trusted parts of a Slurm job, called here and not by its batch script."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlipilot.jobs.phases import main


def phase(verb: str, attempt: Path, **options: object) -> int:
    """The exit status of `verb` on an attempt, as a first start of job 42 on node n1."""
    start = {"job_id": "42", "restart": 0, "node": "n1"}
    if verb == "end":
        ended = {"exit_status": 0, "cancelled": False, "wall_s": 1.0, "cpu_s": 1.0}
        flags = ["--ended", json.dumps(start | ended | options)]
    else:
        words = start | ({"image": "/m.sif"} if verb == "begin" else {}) | options
        flags = [str(part) for name in words for part in (f"--{name.replace('_', '-')}", words[name])]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["phases", verb, str(attempt), *flags])
        return main()
