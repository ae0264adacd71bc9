"""`mlipilot seal`, and whose word `mlipilot verify --require-witness` takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mlipilot.audit.verification_result import Seal, Verification
from mlipilot.cli import verify as verb
from mlipilot.cli.app import app
from mlipilot.errors import CheckFailedError, InputError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run"
    root.mkdir()
    (root / "campaign.lock.yaml").touch()
    return root


def _seal(**changes: Any) -> Seal:
    given: dict[str, Any] = {"path": Path("x.json"), "key": "SHA256:x", "signer": "alice", "agrees": True}
    return Seal(**(given | {"stamped": None, "is_stamp_checked": False} | changes))


WITNESSES = {
    "an allowed signer's": (Verification(seals=[_seal()]), True),
    "an unknown key's": (Verification(seals=[_seal(signer=None)]), False),
    "one that disagrees": (Verification(seals=[_seal(agrees=False)]), False),
    "halves of one": (Verification(seals=[_seal(agrees=False), _seal(signer=None)]), False),
    "Slurm's accounts": (Verification(anchors=2, witnessed=1), True),
    "the run's own extract": (Verification(anchors=2, extracted=2), False),
    "nobody": (Verification(), False),
}


@pytest.mark.parametrize("who", WITNESSES)
def test_whose_word_counts(run: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    found, counts = WITNESSES[who]
    monkeypatch.setattr(verb, "verify_run", lambda *_: found)
    done = CliRunner().invoke(app, ["verify", str(run), "--require-witness", "--json"])
    answer = json.loads(done.stdout)
    assert (done.exit_code == 0) == answer["ok"] == counts
    assert [seal["signer"] for seal in answer["seals"]] == [seal.signer for seal in found.seals]
    assert counts or isinstance(done.exception, CheckFailedError)
    assert counts or "no seal counts without `--signers FILE`" in answer["problems"][0]
    found.problems.clear()
    assert CliRunner().invoke(app, ["verify", str(run)]).exit_code == 0


def _refusal(done: Result) -> str:
    assert isinstance(done.exception, InputError)
    return str(done.exception)


@pytest.mark.parametrize("option", ["--signers", "--tsa"])
def test_a_list_that_is_not_there_is_named(run: Path, option: str) -> None:
    said = _refusal(CliRunner().invoke(app, ["verify", str(run), option, str(run / "none")]))
    assert f"{run / 'none'}: there is no file with" in said and "mend: " in said


def test_a_run_that_did_not_begin_has_nothing_to_seal(run: Path, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    said = _refusal(CliRunner().invoke(app, ["seal", str(run), "--key", str(key)]))
    assert "no lineage has begun" in said and "resume" in said and not (run / "seals").exists()
