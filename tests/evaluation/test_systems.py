"""Evaluations without a crystal: which metrics are owed, by which data, and that a model gets them all."""

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from mlipilot.errors import InputError
from mlipilot.evaluation.bench import Bench, Split
from mlipilot.evaluation.catalog import GROUPS, System, metrics_before_the_exam, metrics_of
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.runner import evaluate
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.evaluation.tasks import make, tasks_of

from .oracles import triangle

QUICK: dict[str, Any] = {
    "invariance": {"trials": 1},
    "finite_difference": {"components": 2},
    "throughput": {"rounds": 3},
    "errors": {"batch_size": 4},
    "frames": {"count": 2},
    "frame_nve": {"duration_ps": 0.005},
}
MOLECULES = {**QUICK, "molecules": {"count": 1}, "stability": {"duration_ps": 0.005}}
SPLITS: tuple[Split, ...] = ("test", "sealed")
OF_MOLECULES = {"nve", "stability", "relaxation", "frequencies", "scan"}
EXAM = {
    "force_slope",
    "force_slope_error",
    "locality_error_mev_per_a",
    "bond_stretch_extra_minima",
    "bond_stretch_force_roughness_ev_per_a",
    "md_bond_length_shift_a",
}
"""What is measured at the end, as no card judges by it; these data have no torsions and no planes."""
SIDE_A = 2.4  # about that of EMT's copper triangle at rest


def labelled(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = None
    atoms.info = {"REF_energy": energy}
    atoms.new_array("REF_forces", forces)
    return atoms


@pytest.fixture(scope="module")
def molecules_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copper triangles by EMT."""
    root = tmp_path_factory.mktemp("molecules")
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(3):
        atoms = triangle("Cu3", SIDE_A).atoms
        atoms.positions += rng.normal(0, 0.05, (3, 3))
        frames.append(labelled(atoms))
    still = triangle("Cu3", SIDE_A).atoms
    still.calc = EMT()
    BFGS(still, logfile=None).run(1e-5)
    vibrations = Vibrations(still, name=str(root / "vib"))
    vibrations.run()
    still.info = {"molecule": "Cu3", "frequencies_per_cm": np.real(vibrations.get_frequencies())[-3:]}
    scan = []
    for index in range(5):
        atoms = labelled(triangle("Cu3", SIDE_A + 0.1 * index).atoms)
        atoms.info |= {"scan": "breathing", "coordinate": float(index)}
        scan.append(atoms)
    (root / "test").mkdir()
    (root / "sealed").mkdir()
    for name, content in {
        "test/test": frames,
        "test/test_unseen": frames[:1],
        "sealed/sealed": frames[1:],
        "sealed/sealed_unseen": frames[:1],
        "test/equilibrium": [Atoms(still.symbols, still.positions, info=still.info)],
        "test/scan": scan,
    }.items():
        ase.io.write(root / f"{name}.xyz", content, format="extxyz")
    return root


def card(path: Path, system: System, settings: dict[str, Any], metric: str = "force_mae_mev_per_a") -> Path:
    term = {"metric": "force_mae_mev_per_a", "weight": 1.0, "scale": 25.0}
    content = {
        "name": "quick",
        "dataset": "any",
        "settings": {"system": system, **settings},
        "gates": [{"metric": metric, "max": 25.0}],
        "objective": {"terms": [term]},
    }
    path.write_text(json.dumps(content))
    return path


def linked(source: Path, target: Path, without: str) -> Path:
    """The data directory with one file fewer."""
    for path in source.rglob("*.xyz"):
        if path.name != without:
            (target / path.parent.name).mkdir(parents=True, exist_ok=True)
            (target / path.parent.name / path.name).symlink_to(path)
    return target


def test_the_calculator_that_labelled_the_molecules_has_no_error(molecules_dir: Path) -> None:
    settings = EvaluationSettings.model_validate({"system": "molecules", **MOLECULES})
    bench = Bench.with_data(EMT(), settings, molecules_dir)
    dynamics = [task for task in tasks_of(bench) if task.label in OF_MOLECULES]
    entries, _ = make(dynamics, lambda _: None)
    values = {name: entry.value or 0.0 for name, entry in entries.items()}
    assert values.pop("nve_drift_mev_per_atom_per_ps") < 100  # over ten steps
    assert values.pop("frequency_mae_per_cm") < 0.5
    assert values.pop("relaxation_rmsd_a") < 1e-3
    assert values.pop("scan_energy_mae_mev") < 1e-4
    assert values.pop("scan_roughness_mev") < 1e-4
    assert set(values.values()) == {1.0}  # the fractions


def test_molecules_owe_every_metric_of_theirs_and_no_stress(molecules_dir: Path, tmp_path: Path) -> None:
    settings = EvaluationSettings.model_validate({"system": "molecules", **MOLECULES})
    owed = [name for task in tasks_of(Bench.with_data(EMT(), settings, molecules_dir)) for name in task.names]
    assert sorted(owed) == sorted(metrics_before_the_exam("molecules", []))
    fewer = linked(molecules_dir, tmp_path, "scan.xyz")
    assert {n for t in tasks_of(Bench.with_data(EMT(), settings, fewer)) for n in t.names} == {
        name for name in owed if not name.startswith("scan_")
    }


def test_structures_owe_what_they_have_labels_of(molecules_dir: Path, data_dir: Path) -> None:
    def owed(data: Path) -> set[str]:
        benches = [
            Bench.with_data(EMT(), EvaluationSettings(system="structures"), data, split) for split in SPLITS
        ]
        return {name for bench in benches for task in tasks_of(bench) for name in task.names}

    periodic = owed(data_dir)
    assert periodic == {name for name in metrics_of("structures") if not name.startswith("unseen_")}
    without = owed(molecules_dir)
    only_cells = ("stress_", "large_cell_", "frame_volume_")
    assert without == {
        name
        for name in metrics_of("structures")
        if not name.startswith(only_cells) and "pressure" not in name
    }


def test_the_exam_is_made_at_the_end_or_where_a_card_judges_by_it(molecules_dir: Path) -> None:
    settings = EvaluationSettings.model_validate({"system": "molecules", **MOLECULES})

    def owed(split: Split, asked: list[str]) -> set[str]:
        bench = Bench.with_data(EMT(), settings, molecules_dir, split)
        return {name for task in tasks_of(bench, asked) for name in task.names}

    assert not owed("test", []) & EXAM
    assert owed("sealed", []) & EXAM == EXAM
    asked = ["bond_stretch_extra_minima"]
    both = {name for name in EXAM if name.startswith("bond_stretch_")}
    assert owed("test", asked) & EXAM == both  # one measurement yields both
    assert owed("sealed", asked) & EXAM == EXAM - both
    assert set(metrics_before_the_exam("molecules", asked)) & EXAM == both
    assert {metric.name for group in GROUPS if group.exam for metric in group.metrics} > EXAM


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "settings"), [("molecules", MOLECULES), ("structures", QUICK)], ids=["molecules", "structures"]
)
def test_a_whole_evaluation_of_a_model_gives_what_is_owed(
    system: System,
    settings: dict[str, Any],
    pristine_handover: Path,
    molecules_dir: Path,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    data = molecules_dir if system == "molecules" else data_dir
    scorecard = card(tmp_path / "card.yaml", system, settings)
    report = evaluate(pristine_handover, data, scorecard, "smoke", "test", tmp_path / "out")
    absent = (
        set() if system == "molecules" else {"unseen_energy_mae_mev_per_atom", "unseen_force_mae_mev_per_a"}
    )
    assert report.metrics.keys() == set(metrics_before_the_exam(system, [])) - absent
    assert report.reference is None
    may_fail = {
        "relaxation_rmsd_a",
        "frequency_mae_per_cm",
        "nve_drift_mev_per_atom_per_ps",
    }  # random weights
    failed = {name: entry.reason for name, entry in report.metrics.items() if entry.status != "ok"}
    assert failed.keys() <= may_fail
    for law in ("rotation", "translation", "permutation", "extensivity"):
        assert (report.values[f"{law}_error_mev"] or 0.0) < 1e-6
    assert (report.values["finite_difference_force_error_mev_per_a"] or 0.0) < 0.1


def test_the_sealed_split_of_molecules_gives_errors_and_the_exam_those_of_unseen_ones_apart(
    pristine_handover: Path, molecules_dir: Path, tmp_path: Path
) -> None:
    scorecard = card(tmp_path / "card.yaml", "molecules", MOLECULES)
    fewer = linked(molecules_dir, tmp_path / "data", "sealed_unseen.xyz")
    report = evaluate(pristine_handover, fewer, scorecard, "smoke", "sealed", tmp_path / "few")
    assert len(report.metrics.keys() - EXAM) == 7
    report = evaluate(pristine_handover, molecules_dir, scorecard, "smoke", "sealed", tmp_path / "out")
    unseen = {name for name in report.metrics if name.startswith("unseen_")}
    assert unseen and len(report.metrics) == 7 + len(unseen) + len(EXAM)
    assert all(entry.status == "ok" for entry in report.metrics.values())


def test_a_gate_on_what_the_data_have_no_reference_for_is_bad_input(
    pristine_handover: Path, molecules_dir: Path, tmp_path: Path
) -> None:
    scorecard = card(tmp_path / "card.yaml", "molecules", MOLECULES, "scan_roughness_mev")
    fewer = linked(molecules_dir, tmp_path / "data", "scan.xyz")
    with pytest.raises(InputError, match="judges scan_roughness_mev"):
        evaluate(pristine_handover, fewer, scorecard, "smoke", "test", tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()
    with pytest.raises(InputError, match=r"no test/equilibrium\.xyz"):
        evaluate(
            pristine_handover,
            linked(molecules_dir, tmp_path / "x", "equilibrium.xyz"),
            scorecard,
            "smoke",
            "test",
            tmp_path / "out",
        )


@pytest.mark.parametrize(
    ("system", "settings", "metric", "message"),
    [
        (
            "molecules",
            {},
            "stress_mae_gpa",
            "stress_mae_gpa does not exist where settings.system is 'molecules'",
        ),
        ("structures", {}, "bulk_modulus_error_percent", "bulk_modulus_error_percent does not exist"),
        ("crystal", {}, "md_stable_fraction", "md_stable_fraction does not exist"),
        ("molecules", {"nvt": {}}, "force_mae_mev_per_a", "'nvt' is not read where system is 'molecules'"),
        ("crystal", {"stability": {}}, "force_mae_mev_per_a", "it is of molecules"),
        ("crystals", {}, "force_mae_mev_per_a", "settings.system"),
    ],
)
def test_a_scorecard_that_asks_for_what_its_system_has_not_is_refused(
    tmp_path: Path, system: System, settings: dict[str, Any], metric: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_scorecard(card(tmp_path / "card.yaml", system, settings, metric))


def test_a_profile_may_not_change_the_system(tmp_path: Path) -> None:
    path = card(tmp_path / "card.yaml", "molecules", {})
    content = json.loads(path.read_text()) | {"profiles": {"full": {"settings": {"system": "structures"}}}}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="may not change 'system'"):
        load_scorecard(path)
