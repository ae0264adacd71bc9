"""One controller a lineage, across processes, and no lock left by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlipilot.audit.lock import controller_lock, holder
from mlipilot.errors import InputError

_HOLD = """
import sys, time
from pathlib import Path
from mlipilot.audit.lock import controller_lock
with controller_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_controller_is_told_who_holds_the_run_and_a_killed_one_leaves_no_lock(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"), controller_lock(tmp_path):
            pass
        assert f"process {process.pid}" in (holder(tmp_path) or "")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while holder(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    with controller_lock(tmp_path):
        assert (tmp_path / "controller.json").exists()
    assert not (tmp_path / "controller.json").exists()
    assert holder(tmp_path) is None
