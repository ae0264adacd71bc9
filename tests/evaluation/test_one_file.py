"""A metric is one file: a new one is found by all that measures, judges, shows and explains metrics."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import CATALOG, GROUPS
from mlipilot.evaluation.metric_settings import SECTIONS
from mlipilot.evaluation.scorecard import load_scorecard

from .conftest import QUICK

ROOT = Path(__file__).parents[2]
METRIC = '''
"""Energy of two atoms of the crystal's element, far from any crystal.

|E_model − E_reference| of the pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import np
from mlipilot.evaluation.panels import Figure, Lines
from mlipilot.evaluation.metrics_file import Measurement

if TYPE_CHECKING:
    from mlipilot.evaluation.bench import Bench


class DimerSettings(Settings):
    distance_a: float = Field(default=2.5, gt=1)


def energy_ev(bench: Bench) -> float:
    from ase import Atoms

    distance_a = bench.settings.section(DimerSettings).distance_a
    pair = Atoms([bench.settings.crystal.symbol] * 2, positions=[[0, 0, 0], [0, 0, distance_a]])
    return bench.predict([pair])[0].energy_ev


def measure(bench: Bench) -> Measurement:
    error = 1000 * abs(energy_ev(bench) - bench.truth("dimer_energy_ev"))
    curve = np.array([error, error / 2, 0.0])
    return Measurement({"dimer_energy_error_mev": error}, curves={"dimer_error_mev": curve})


GROUP = Group(
    name="dimer",
    place=999,
    metrics=(Metric("dimer_energy_error_mev", "meV", "lower", "dimer error", CRYSTAL),),
    measure=measure,
    sections=(Section("dimer", DimerSettings, CRYSTAL),),
    reference={"dimer_energy_ev": energy_ev},
    panels=(
        Lines(
            figure=Figure("dimer", "Two atoms", "Far from any crystal."),
            title="Half and half again",
            caption="errors that go.",
            arrays=("", "dimer_error_mev"),
            labels=("share of the way", "error (meV)"),
        ),
    ),
    source="a letter to nobody (1999)",
)
'''
NAME = "dimer_energy_error_mev"


@pytest.fixture(scope="module")
def seen(pristine_handover: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("one")
    folder = work / "metrics"
    folder.mkdir()
    (folder / "dimer.py").write_text(METRIC)
    shutil.copytree(pristine_handover, work / "model")
    shutil.copytree(data_dir, work / "data")
    card = {
        "name": "quick",
        "dataset": "cu_emt",
        "settings": {**QUICK, "dimer": {"distance_a": 2.25}},
        "gates": [{"metric": NAME, "max": 25.0}, {"metric": "force_mae_mev_per_a", "max": 1e9}],
        "objective": {"terms": [{"metric": NAME, "weight": 1.0, "scale": 5.0}]},
    }
    (work / "card.yaml").write_text(json.dumps(card))
    command = [sys.executable, "-m", "tests.evaluation.one_file", str(folder), str(work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((work / "seen.json").read_text())
    entry = json.loads((work / "out" / "metrics.json").read_text())["metrics"][NAME]
    return found | {"entry": entry}


@pytest.mark.slow
@pytest.mark.xdist_group("one file")
def test_it_is_measured_with_its_own_settings_against_its_own_reference(seen: dict[str, Any]) -> None:
    assert seen["status"] == 0 and seen["source"] == "file"
    assert seen["entry"]["status"] == "ok" and seen["entry"]["unit"] == "meV"
    from ase import Atoms
    from ase.calculators.emt import EMT

    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.25]], calculator=EMT())
    assert seen["reference"]["dimer_energy_ev"] == pytest.approx(pair.get_potential_energy())


@pytest.mark.slow
@pytest.mark.xdist_group("one file")
def test_a_gate_the_objective_and_a_verdict_judge_it(seen: dict[str, Any]) -> None:
    gate, other = seen["gates"]
    assert gate["metric"] == NAME and gate["value"] == seen["entry"]["value"] and gate["bound"] == "≤ 25"
    assert not gate["passed"] and other["passed"]  # its weights are random
    assert seen["log_objective"] == pytest.approx(math.log(seen["entry"]["value"] / 5.0))
    (judged,) = seen["verdict"]["scores"].values()
    assert judged["gates"][0]["metric"] == NAME and not judged["gates"][0]["passed"]


@pytest.mark.slow
@pytest.mark.xdist_group("one file")
def test_the_report_calibration_the_page_and_the_pilots_name_it(seen: dict[str, Any]) -> None:
    row = seen["gate_row"]
    assert (row["label"], row["unit"], row["bound"]) == ("dimer error", "meV", "≤ 25")
    assert not row["baseline"]["passed"]
    assert [row["label"] for row in seen["metric_rows"]][-1] == "dimer error"
    assert NAME in seen["calibrated"] and "parameter_count" in seen["calibrated"]
    assert f"| `{NAME}` | dimer error | meV | lower | crystal |\n" in seen["page"]
    assert (
        "After a letter to nobody (1999)." in seen["page"]
        and "|E_model − E_reference| of the pair." in seen["page"]
    )
    assert f'"{NAME}"' in seen["tools"] and seen["unit"] == "meV"


@pytest.mark.slow
@pytest.mark.xdist_group("one file")
def test_the_report_draws_its_curve_on_the_page(seen: dict[str, Any]) -> None:
    expected = ["progress", "gates", "parity", "dynamics", "crystal", "beyond", "dimer", "training"]
    assert seen["figures"] == expected
    assert seen["html"].count("<figcaption>Errors that go. Far from any crystal.</figcaption>") == 1
    assert '<img src="data:image/png;base64,' in seen["html"] and "Two atoms: not drawn" not in seen["html"]
    value = seen["entry"]["value"]
    assert seen["panel"] == ["Half and half again", "share of the way", "error (meV)"]
    assert seen["line"] == pytest.approx([value, value / 2, 0.0])


def test_the_page_in_docs_is_what_the_metrics_declare() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "import metrics_page; print(metrics_page.page(), end='')"],
        cwd=ROOT / "ci",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert made == (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), "python ci/metrics_page.py"


def test_what_is_declared_is_declared_once(tmp_path: Path) -> None:
    names = [metric.name for group in GROUPS for metric in group.metrics]
    assert len(names) == len(CATALOG) == len(set(names))
    sections = [section.name for section in SECTIONS]
    assert len(sections) == len(set(sections))
    card = tmp_path / "card.yaml"
    text = (ROOT / "scorecards" / "cu_emt.yaml").read_text(encoding="utf-8")
    card.write_text(text.replace("\nsettings:\n", "\nsettings:\n  dimer: {distance_a: 2.25}\n"))
    with pytest.raises(InputError, match="dimer"):  # without its file nobody knows the section
        load_scorecard(card)
