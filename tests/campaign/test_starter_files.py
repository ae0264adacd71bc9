"""What `mlipilot init` writes can be run as it is, and nothing that is there is touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from mlipilot.audit.manifest import write_manifest
from mlipilot.campaign.spec import load_campaign
from mlipilot.campaign.starter_files import SBATCH, write_start
from mlipilot.datasets.imported.frame_files import Labels
from mlipilot.datasets.imported.importing import import_files
from mlipilot.errors import InputError
from mlipilot.evaluation.scorecard import load_scorecard

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty frames of three argon atoms on springs, and a free atom."""
    rng = np.random.default_rng(1)
    frames = [Atoms("Ar", info={"e": -1.25})]
    frames[0].arrays["f"] = np.zeros((1, 3))
    for _ in range(40):
        moved = rng.normal(scale=0.05, size=(3, 3))
        atoms = Atoms(
            "Ar3", positions=np.diag([0.0, 4.0, 8.0]) + moved, info={"e": float(3 * np.sum(moved**2))}
        )
        atoms.arrays["f"] = -6 * moved
        frames.append(atoms)
    write(tmp_path / "mine.xyz", frames, format="extxyz")
    import_files([tmp_path / "mine.xyz"], Labels("e", "f"), "mine", tmp_path / "data" / "mine", 1, False)
    return tmp_path / "data" / "mine"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository's directory, as far as it matters."""
    (tmp_path / "root" / "campaigns").mkdir(parents=True)
    (tmp_path / "root" / SBATCH).write_text((REPOSITORY / SBATCH).read_text())
    return tmp_path / "root"


def test_the_campaign_can_be_run_as_it_is(data: Path, root: Path) -> None:
    written = write_start("argon", data, root)
    assert [str(path) for path in written] == [
        "scorecards/argon.yaml",
        "campaigns/argon.yaml",
        "campaigns/argon.sbatch",
    ]
    campaign = load_campaign(root / "campaigns" / "argon.yaml")
    assert campaign.spec.dataset.options["path"] == str(data)
    assert campaign.spec.recipe_values["normalisation.isolated_atom_ev"] == {"Ar": -1.25}
    bounds = {gate.metric: gate.max for gate in campaign.scorecard.gates}
    assert bounds["force_mae_mev_per_a"] == pytest.approx(100 * 6 * 0.05, rel=0.2)
    sbatch = (root / "campaigns" / "argon.sbatch").read_text()
    assert "cu_emt" not in sbatch and "campaign=(campaigns/argon.yaml " in sbatch


def test_a_directory_that_yaml_would_misread(data: Path, root: Path) -> None:
    moved = data.rename(data.with_name("mine: #2"))
    write_start("argon", moved, root)
    assert load_campaign(root / "campaigns" / "argon.yaml").spec.dataset.options["path"] == str(moved)


def test_the_spread_of_the_labels_is_said_as_it_is(data: Path, root: Path) -> None:
    write_start("argon", data, root)
    said = (root / "scorecards" / "argon.yaml").read_text()
    frames = read(data / "train" / "train.xyz", index=":")
    spread = 1000 * np.std([atoms.info["REF_energy"] / 3 for atoms in frames])
    assert f"{spread:.3g} meV/atom within one formula" in said


@pytest.mark.parametrize(
    ("elements", "periodic", "card"),
    [
        (["Cu"], True, "cu_emt"),
        (["Cu"], False, "qm7_b3lyp"),
        (["H", "O"], True, "qm7_b3lyp"),
        (["H", "O"], False, "qm7_b3lyp"),
    ],
)
def test_forces_are_held_to_the_gradient_as_in_the_shipped_scorecards(
    data: Path, root: Path, elements: list[str], periodic: bool, card: str
) -> None:
    provenance = json.loads((data / "provenance.json").read_text())
    provenance["found"] |= {"elements": elements, "periodic": periodic}
    (data / "provenance.json").write_text(json.dumps(provenance))
    write_manifest(data)
    write_start("mine", data, root)
    gates = [
        next(gate for gate in scorecard.gates if gate.metric == "finite_difference_force_error_mev_per_a")
        for scorecard in map(
            load_scorecard, (root / "scorecards" / "mine.yaml", REPOSITORY / "scorecards" / f"{card}.yaml")
        )
    ]
    assert gates[0] == gates[1]


@pytest.mark.parametrize("there", ["scorecards/argon.yaml", "campaigns/argon.sbatch"])
def test_nothing_is_written_over(data: Path, root: Path, there: str) -> None:
    (root / there).parent.mkdir(exist_ok=True)
    (root / there).write_text("mine")
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    with pytest.raises(InputError, match="it exists"):
        write_start("argon", data, root)
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before


def test_only_a_sealed_imported_set_will_do(data: Path, root: Path) -> None:
    (data / "train" / "train.xyz").write_text("")
    with pytest.raises(InputError, match="not as it was sealed"):
        write_start("argon", data, root)
    (data / "provenance.json").write_text('{"dataset": "cu_emt"}')
    write_manifest(data)
    with pytest.raises(InputError, match="cu_emt, which was not imported"):
        write_start("argon", data, root)
    with pytest.raises(InputError, match="no sealed data set"):
        write_start("argon", root, root)
