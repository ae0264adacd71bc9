"""What docs/pilots.md has a user write into the site block of a campaign's sbatch file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.documents.blocks import block
from tests.sbatch.checkout import Checkout
from tests.sbatch.conftest import StandinSlurm, read_fields

ENDPOINT = "mlp-0123456789abcdef-endpoint.a1"
CONTROLLER = f"""\
# A stand-in: it asks for the campaign's model, and ends when that is submitted.
cd "$(dirname "$STANDIN_SLURM")"/site/runs/* && mkdir -p spool/requests
echo template=endpoint >spool/requests/.new && mv spool/requests/.new spool/requests/{ENDPOINT}
for _ in {{1..200}}; do
  ! grep -sqx status=submitted spool/receipts/{ENDPOINT} || exit 0
  sleep 0.1
done
exit 1
"""


@pytest.mark.parametrize("part", [slice(1, 4), slice(4, 7)], ids=["llama.cpp", "vLLM"])
def test_a_model_as_a_job_of_the_campaign(part: slice, tmp_path: Path, standin_slurm: StandinSlurm) -> None:
    lines = block("docs/pilots.md", "campaign+=(--set pilot=local)").lines
    assert len(lines) == 7
    chosen = [lines[0], *lines[part]]
    model = tmp_path / "models"
    model.mkdir()
    (model / "qwen2.5-coder-7b-q4_k_m.gguf").touch()
    (model / "Qwen3-32B").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "vllm.sif").touch()
    site = Checkout(tmp_path / "site", standin_slurm)
    site.write_program("mlipilot", CONTROLLER)
    script = site.root / "campaigns" / "cu_emt.sbatch"
    text, end = script.read_text(), "\n# " + "-" * 105 + "\n"
    assert text.count(end) == 1
    told = "\n".join(chosen).replace("=/models/", f"={model}/").replace("=/images/", f"={tmp_path}/images/")
    script.write_text(text.replace(end, f"\n{told}{end}"))
    done = site.submit("cu_emt.sbatch", {"HOME": "/tmp", "PATH": os.environ["PATH"], "USER": "somebody"})
    assert done.returncode == 0, done.stdout
    (call,) = [call for call in standin_slurm.calls("sbatch") if f"--job-name={ENDPOINT}" in call]
    words = next(line for line in chosen if "SBATCH_EXTRA_ENDPOINT" in line).split('"')[1].split()
    assert [word for word in words if word not in call] == []
    told_to_job = read_fields(site.root / "runs" / "cu_emt" / "spool" / "site.env")
    assert told_to_job["endpoint"].startswith(str(model))
    options = next(line for line in chosen if "ENDPOINT_OPTIONS" in line).split('"')[1]
    assert told_to_job["endpoint_options"] == options
    assert "pilot=local" in site.words()
