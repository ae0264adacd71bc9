"""The molecular campaign from the command line to a verified report, as shipped but shorter."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlipilot.audit.ledger import read_ledger
from mlipilot.campaign.spec import dump_yaml
from mlipilot.controller.state import replay
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import REPOSITORY, mlipilot, shipped_card

pytestmark = [pytest.mark.slow, pytest.mark.sweep]  # the budget of half an hour has no room for it yet

QUICK = {
    "frame_nve": {"duration_ps": 0.005},
    "stability": {"duration_ps": 0.005},
    "molecules": {"count": 2},
    "relaxation": {"max_steps": 3},
    "throughput": {"rounds": 3},
}


def test_normalisation_is_the_first_move_and_helps(tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    card = shipped_card("qm7_b3lyp")
    for name, quick in QUICK.items():
        card["settings"][name] = card["settings"].get(name, {}) | quick
    (tmp_path / "card.yaml").write_text(dump_yaml({k: v for k, v in card.items() if k != "profiles"}))
    spec = yaml.load((REPOSITORY / "campaigns/qm7_b3lyp.yaml").read_text())
    spec = {key: value for key, value in spec.items() if key != "profiles"}
    spec |= {"scorecard": "card.yaml", "seeds": [1], "budget": {"iterations": 1, "optimizer_steps": 20}}
    (tmp_path / "campaign.yaml").write_text(dump_yaml(spec))
    mlipilot("run", "campaign.yaml", cwd=tmp_path)

    run = RunPaths(tmp_path / "runs" / "qm7_b3lyp")
    mlipilot("verify", run.root, cwd=tmp_path)
    state = replay(read_ledger(run.lineage(0).ledger))
    move = state.iterations[1]
    assert move.title == "Energies from free atoms, forces of unit size"
    assert move.verdict is not None and move.verdict.verdict == "accepted"
    page = run.report_html.read_text()
    assert "Properties of molecules" in page and "dynamics broke" in page
