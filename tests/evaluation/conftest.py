from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench_settings import CrystalSettings
from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.families.mace_config import HandoverConfig
from mlipilot.evaluation.metric_settings import EvaluationSettings

BLOCK = "RealAgnosticResidualInteractionBlock"

# short, for the sake of the suite; every measurement is made
QUICK = {
    "nve": {"duration_ps": 0.04},
    "nvt": {"duration_ps": 0.04, "equilibration_ps": 0.04, "sample_every": 2},
    "lattice": {"points": 5},
    "elasticity": {"normal_strains": [-0.005, 0.005], "shear_strains": [-0.005, 0.005]},
    "invariance": {"trials": 1},
    "finite_difference": {"components": 2},
    "throughput": {"rounds": 3, "repeats": 1},
    "size": {"repeats": 1},
    "phonons": {"repeats": 2},
    "hot_forces": {"frames": 2, "interval_ps": 0.02},
    "energy_volume": {"points": 19},
    "surfaces": {"layers": 6},
    "stacking_fault": {"layers": 6, "points": 7},
    "pair": {"points": 49},
}


def config_json(**changes: Any) -> dict[str, Any]:
    """A small valid `config.json`, its arguments changed."""
    arguments = {
        "r_max": 4.0,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": BLOCK,
        "interaction_cls_first": BLOCK,
        "num_interactions": 2,
        "hidden_irreps": "4x0e",
        "MLP_irreps": "4x0e",
        "gate": "silu",
        "atomic_energies": [3.5],
        "avg_num_neighbors": 12.0,
        "atomic_numbers": [29],
        "correlation": 2,
        "radial_type": "bessel",
        "radial_MLP": [8],
        "atomic_inter_scale": 1.0,
        "atomic_inter_shift": 0.0,
    }
    return {
        "format": "mlipilot-handover/1",
        "model_class": "ScaleShiftMACE",
        "dtype": "float64",
        "arguments": arguments | changes,
    }


@pytest.fixture(scope="session")
def settings() -> EvaluationSettings:
    return EvaluationSettings.model_validate(QUICK)


@pytest.fixture(scope="session")
def pristine_handover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random small MACE, handed over as a recipe does it. Not to be changed: see `model_dir`."""
    from mlipilot.evaluation.families.mace_rebuilding import build
    from mlipilot.handover import write_handover

    out = tmp_path_factory.mktemp("handover")
    config = config_json()
    module = build(HandoverConfig.model_validate(config))
    write_handover(out, config["model_class"], config["arguments"], module)
    return out / "model"


@pytest.fixture
def model_dir(pristine_handover: Path, tmp_path: Path) -> Path:
    """A copy of the hand-over that a test may spoil."""
    return Path(shutil.copytree(pristine_handover, tmp_path / "model"))


def write_labelled(path: Path, count: int, repeats: int) -> None:
    """Rattled copper cells labelled by EMT."""
    frames = []
    for seed in range(count):
        atoms = rattled_cell(CrystalSettings(), 3.6, repeats, 0.05, seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress(voigt=False)
        atoms.calc = None
        atoms.info = {"REF_energy": energy, "REF_stress": stress.ravel()}
        atoms.new_array("REF_forces", forces)
        frames.append(atoms)
    path.parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(path, frames, format="extxyz")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_labelled(root / "test" / "test.xyz", 3, 1)
    write_labelled(root / "test" / "test_large.xyz", 1, 2)
    write_labelled(root / "sealed" / "sealed.xyz", 2, 1)
    return root


@pytest.fixture(scope="session")
def scorecard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import json

    path = tmp_path_factory.mktemp("card") / "quick.yaml"
    card = {
        "name": "quick",
        "dataset": "cu_emt",
        "settings": QUICK,
        "gates": [{"metric": "force_mae_mev_per_a", "max": 25.0}],
        "objective": {"terms": [{"metric": "force_mae_mev_per_a", "weight": 1.0, "scale": 25.0}]},
    }
    path.write_text(json.dumps(card))  # JSON is YAML
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
