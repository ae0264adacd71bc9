"""What docs/audit.md has witnesses and strangers type, on a small run and with an authority of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlipilot.paths import RunPaths
from tests.audit.stamping import time_stamp_authority
from tests.documents.blocks import block
from tests.report.synthetic import SyntheticRun, make_spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("ssh-keygen") and shutil.which("openssl")),
        reason="ssh-keygen or openssl is missing",
    ),
]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run whose baseline is accepted, where the document has it, and a key where it has that."""
    made = SyntheticRun(tmp_path / "runs" / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.lineage.incumbent.symlink_to("iterations/0000")
    (tmp_path / ".ssh").mkdir()
    key = str(tmp_path / ".ssh" / "id_ed25519")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return made.run


def _type(home: Path, *lines: str) -> tuple[int, str]:
    """The status of the last line that is typed into a fresh shell, and what all of them say."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)],
        cwd=home,
        env=os.environ | {"HOME": str(home), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_witness_seals_and_a_stranger_checks_it_by_hand(run: RunPaths, tmp_path: Path) -> None:
    commands = block("docs/audit.md", "mlipilot verify runs/cu_emt ")
    status, said = _type(tmp_path, commands.take("mlipilot verify runs/cu_emt"))
    assert status == 0 and "every verdict recomputed" in said
    seal = commands.take("mlipilot seal runs/cu_emt").split("#")[0]
    signers, verify = commands.take("echo "), commands.take("mlipilot verify runs/cu_emt --require-witness")
    commands.end()
    status, said = _type(tmp_path, signers, verify)
    assert status == 1 and "no witness agrees" in said
    with time_stamp_authority(tmp_path) as authority:
        status, said = _type(tmp_path, f"{seal} --timestamp {authority.url}", verify)
    assert status == 0 and "which is alice@example.org's" in said and "lineage-0; what comes later" in said, (
        said
    )
    by_hand = block("docs/audit.md", "cd runs/cu_emt && work=")
    begun = [by_hand.take(start) for start in ("cd ", "field() ", "field payload", "(printf ", "(echo ")]
    checked, records, ledger = (by_hand.take(start) for start in ("ssh-keygen -Y", "records=", "head -n"))
    by_hand.end()
    stamp = block("docs/audit.md", "field rfc3161")
    stamped = [stamp.take("field rfc3161"), stamp.take("openssl ts -verify")]
    stamp.end()
    status, said = _type(tmp_path, *begun, checked, records, ledger, *stamped)
    assert status == 0 and 'Good "mlipilot-seal" signature for alice@example.org' in said, said
    assert "the ledger begins with what was sealed" in said and "Verification: OK" in said
    (file,) = run.seals.iterdir()
    sealed = file.read_text()
    file.write_text(sealed.replace('"payload": "ey', '"payload": "eQ'))
    assert _type(tmp_path, *begun, checked)[0] != 0
    file.write_text(sealed)
    lines = run.lineage(0).ledger.read_bytes().splitlines(keepends=True)
    run.lineage(0).ledger.write_bytes(b"".join(lines[:-1]))
    assert "what was sealed" not in _type(tmp_path, *begun, records, ledger)[1]
    status, said = _type(tmp_path, verify)
    assert status == 1 and "ledger.jsonl was cut" in said and "no witness agrees" in said
