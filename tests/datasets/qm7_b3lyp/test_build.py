"""Building from the labels that are shipped, and from molecules to a data set through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from typer.testing import CliRunner, Result

from mlipilot.audit.files import tree_digest
from mlipilot.audit.manifest import check_manifest
from mlipilot.cli.app import app
from mlipilot.datasets import DATASETS
from mlipilot.datasets.qm7_b3lyp import build, estimate, shipped
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.work import held
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.evaluation.reference_molecules import read_molecules, read_scans
from mlipilot_labels.cost import label_seconds
from mlipilot_labels.label import label_geometries
from mlipilot_labels.records import Frame, Geometry, Molecule

needs_qm = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pyscf", "tblite")), reason="needs the extra qm"
)
TINY = ["--set", "source=embedded", "--set", "molecules=[water, methane, ammonia]", "--set", "processes=1"]
TINY += ["--set", "normal_mode=1", "--set", "temperatures_k=[500]", "--set", "rattled=3", "--set", "shards=2"]


def _data(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("qm7") / "data"
    DATASETS["qm7_b3lyp"].build(Qm7B3lypOptions(), out, None)
    return out


def test_the_shipped_labels_are_a_sealed_data_set_of_less_than_2_mb(data: Path) -> None:
    assert check_manifest(data) == []
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 2e6
    provenance = json.loads((data / "provenance.json").read_text())
    splits = provenance["splits"]
    assert len(splits["train"]["molecules"]) >= 12
    assert len(splits["test_unseen"]["molecules"]) >= 4
    assert not set(splits["train"]["molecules"]) & set(splits["test_unseen"]["molecules"])
    assert sum(split["frames"] for split in splits.values()) >= 200
    assert set(provenance["outcomes"]) <= {"default", "level_shift", "second_order"}
    assert provenance["isolated_atoms_ev"].keys() == {"H", "C", "N", "O", "S"}
    elements = {symbol for atoms in read(data / "train/train.xyz", ":") for symbol in atoms.symbols}
    assert elements == {"H", "C", "N", "O", "S"}


def test_energies_are_bound_and_forces_are_of_thermal_size(data: Path) -> None:
    """Units: a molecule is bound by 1–6 eV an atom, and its forces are below 40 eV/Å.

    A C=O bond (k = 80 eV/Å²) that is 0.3 Å off, as it may be at 3000 K, has 25.
    """
    free = json.loads((data / "provenance.json").read_text())["isolated_atoms_ev"]
    for name in ("train/train.xyz", "test/test_unseen.xyz"):
        for atoms in read(data / name, ":"):
            binding = sum(free[symbol] for symbol in atoms.symbols) - atoms.info["REF_energy"]
            assert 1 < binding / len(atoms) < 6, atoms.info
            forces = atoms.arrays["REF_forces"]
            assert np.abs(forces).max() < 40
            np.testing.assert_allclose(forces.sum(axis=0), 0, atol=3e-5)


def test_reference_molecules_are_those_of_the_literature(data: Path) -> None:
    """Water by RB3LYP/6-31G(d): −76.4089533 Hartree at the minimum; 1713, 3727, 3849 cm⁻¹ (CCCBDB)."""
    minima = {molecule.name: molecule for molecule in read_molecules(data / "test/equilibrium.xyz")}
    water = minima["water"]
    assert water.atoms.info["REF_energy"] / 27.211386 == pytest.approx(-76.4089533, abs=3e-5)
    assert water.frequencies_per_cm == pytest.approx([1713, 3727, 3849], abs=5)
    assert min(molecule.frequencies_per_cm.min() for molecule in minima.values()) > 0
    torsion, stretch = read_scans(data / "test/scan.xyz")
    assert torsion.energies_ev.argmin() not in (0, 12)
    assert 0.9 < stretch.coordinates[stretch.energies_ev.argmin()] < 1.05


def test_every_frame_says_that_it_stands_in_for_qm7(data: Path) -> None:
    provenance = json.loads((data / "provenance.json").read_text())
    assert "stands in for QM7" in provenance["molecules_are"]
    assert provenance["options"]["source"] == "shipped"
    assert provenance["labels_made_with"]["source"] == "embedded"
    for path in [*data.glob("*/*.xyz")]:
        for atoms in read(path, ":"):
            assert "not QM7" in atoms.info["origin"] or atoms.info["origin"] == "free atom", path


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"rattled": 0, "normal_mode": 0},
            "valid, test would be empty: 2 of 3 molecules are trained on, and 1",
        ),
        ({"rattled": 3, "normal_mode": 0}, "valid would be empty"),
        ({"unseen_share": 0.9}, "train, valid, test would be empty: 0 of 3"),
    ],
)
def test_a_set_that_no_campaign_could_use_is_refused_before_labels_are_made(
    tmp_path: Path, settings: dict[str, float], said: str
) -> None:
    names = ("water", "methane", "ammonia")
    options = Qm7B3lypOptions.model_validate({"source": "embedded", "molecules": names} | settings)
    with pytest.raises(InputError, match=rf"{said}(.|\n)*mend: more geometries"):
        build.prepare(tmp_path, options)
    assert not (tmp_path / "plan.json").exists()


def test_the_file_of_qm7_is_looked_at_when_its_labels_are_there(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(InputError, match=r"nowhere\.mat: there is no such file"):
        build.prepare(tmp_path, Qm7B3lypOptions(source="qm7", qm7=Path("nowhere.mat")))


def test_labels_that_were_changed_are_refused(tmp_path: Path) -> None:
    for path in shipped.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / shipped.FRAMES).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(CheckFailedError, match="changed"):
        shipped.load(tmp_path)


@needs_qm
def test_labelling_again_gives_the_shipped_labels() -> None:
    frames = {(frame.molecule, frame.index): frame for frame in shipped.load().frames}
    for place in [("water", 3), ("hydrogen_sulfide", 9)]:
        kept = frames[place]
        source = Molecule(
            name="m", origin="t", numbers=kept.numbers, positions_a=kept.positions_a or [], relax=False
        )
        (again,) = label_geometries(source, [Geometry(kind=kept.kind, positions_a=kept.positions_a)])
        assert again.energy_ev == pytest.approx(kept.energy_ev, abs=1e-4)
        np.testing.assert_allclose(
            np.array(again.forces_ev_per_a), np.array(kept.forces_ev_per_a), rtol=0, atol=5e-4
        )


@needs_qm
@pytest.mark.parametrize(
    ("molecule", "index", "atom", "axis"), [("water", 5, 1, 1), ("hydrogen_sulfide", 4, 0, 2)]
)
def test_shipped_forces_are_minus_the_slope_of_the_energy(
    molecule: str, index: int, atom: int, axis: int
) -> None:
    step = 2e-3
    kept = next(f for f in shipped.load().frames if (f.molecule, f.index) == (molecule, index))
    places = np.array([kept.positions_a, kept.positions_a])
    places[0, atom, axis] += step
    places[1, atom, axis] -= step
    source = Molecule(
        name="m", origin="t", numbers=kept.numbers, positions_a=kept.positions_a or [], relax=False
    )
    moved = [Geometry.model_validate({"kind": kept.kind, "positions_a": place}) for place in places.tolist()]
    up, down = (frame.energy_ev for frame in label_geometries(source, moved))
    assert up is not None and down is not None and kept.forces_ev_per_a is not None
    assert kept.forces_ev_per_a[atom][axis] == pytest.approx(-(up - down) / (2 * step), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "qm7_b3lyp", "--seed", "3"], "seed needs `source: embedded` or `qm7`"),
        (["build", "qm7_b3lyp", "--qm7", "nowhere.mat"], "nowhere.mat: there is no such file"),
        (["build", "qm7_b3lyp", "--set", "sede=3"], "did you mean 'seed'?"),
        (["build", "cu_emt", "--seed", "-1"], "cu_emt: seed: Input should be greater"),
        (["build", "qm7_b3lyp", "--set", "seed"], "KEY=VALUE is expected"),
        (["build", "cu_emt", "--qm7", "x.mat"], "cu_emt has no option 'source'"),
        (["build", "qm7_b3lyp", "--lay-out"], "no labels are to be made"),
        (["plan", "cu_emt"], "no labels are to be made for cu_emt"),
        (["status", "nowhere"], "no plan of labels"),
        (["label", "nowhere", "--shard", "0"], "no plan of labels"),
    ],
)
def test_wrong_input_is_one_message(arguments: list[str], said: str, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "out")] if arguments[0] == "build" else []
    done = _data(*arguments, *output)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    monkeypatch.delitem(sys.modules, "rdkit.Chem", raising=False)
    done = _data("build", "qm7_b3lyp", "--set", "source=embedded", "--output", tmp_path / "out")
    assert isinstance(done.exception, InputError)
    assert "pip install 'mlipilot[qm]'" in str(done.exception)


def test_a_second_builder_is_refused(tmp_path: Path) -> None:
    with held(tmp_path / "out.labels" / "lock", "builds here"):
        done = _data("build", "qm7_b3lyp", *TINY, "--output", tmp_path / "out")
    assert "another process builds here" in str(done.exception)


@needs_qm
def test_a_plan_says_core_hours_by_the_size_of_the_molecules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_probe_seconds", lambda: 2 * label_seconds([6, 8, 1, 1, 1, 1]))
    told = json.loads(_data("plan", "qm7_b3lyp", *TINY, "--json").stdout)
    assert (told["molecules"], told["labels"], told["slowness"]) == (3, 15, 2)
    each = [label_seconds(numbers) for numbers in ([8, 1, 1], [6, 1, 1, 1, 1], [7, 1, 1, 1])]
    assert told["core_hours"] == pytest.approx(2 * 5 * sum(each) / 3600)


def test_the_label_that_is_timed_has_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def label_geometries(source: Molecule, made: list[Geometry]) -> list[Frame]:
        calls.append(made)
        blank = Frame(molecule="probe", index=0, origin="", kind="rattled", numbers=source.numbers,
                      positions_a=None, sampling={}, label={})  # fmt: skip
        return [
            blank.model_copy(update={"label": {"cpu_seconds": 9.0 - index}}) for index in range(len(made))
        ]

    monkeypatch.setattr(estimate, "label_geometries", label_geometries)
    assert estimate._time_probe() == 8.0
    ((first, second),) = calls
    assert first.positions_a != second.positions_a


def test_every_molecule_costs_what_is_expected_within_30_percent() -> None:
    """But for one factor, the speed of the machine at that time, which `plan` finds by timing a label."""
    spent: dict[str, list[float]] = {}
    expected = {}
    for frame in shipped.load().frames:
        if frame.kind != "isolated_atom":
            spent.setdefault(frame.molecule, []).append(float(frame.label["cpu_seconds"]))
            expected[frame.molecule] = label_seconds(frame.numbers)
    means = {name: float(np.mean(seconds)) for name, seconds in spent.items()}
    factor = sum(means.values()) / sum(expected.values())
    assert 0.5 < factor < 2
    for name, mean in means.items():
        assert factor * expected[name] == pytest.approx(mean, rel=0.3), name
    toluene = [6] * 7 + [1] * 8
    assert label_seconds(toluene) == pytest.approx(22.5, rel=0.3)


@needs_qm
@pytest.mark.slow
def test_a_killed_build_goes_on_with_what_is_there(tmp_path: Path) -> None:
    """Laid out, one shard by its own process, the builder killed in the middle, then to its end."""
    out, work = tmp_path / "data", tmp_path / "data.labels"
    laid_out = _data("build", "qm7_b3lyp", *TINY, "--output", out, "--lay-out")
    assert "sbatch --array=0-1 sbatch/label.sbatch" in laid_out.stdout
    assert _data("label", work, "--shard", "1").exit_code == 0
    command = [sys.executable, "-m", "mlipilot", "data", "build", "qm7_b3lyp", *TINY, "--output", str(out)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as builder:
        while not list((work / "shards/0000").glob("*.jsonl")):
            time.sleep(0.05)
            assert builder.poll() is None
        os.killpg(builder.pid, signal.SIGKILL)
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in work.glob("shards/*/*.jsonl")}
    assert 0 < len(kept) < 8
    assert _data("build", "qm7_b3lyp", *TINY, "--output", out).exit_code == 0
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert check_manifest(out) == []
    assert not list(tmp_path.glob(".*"))
    assert json.loads(_data("status", work, "--json").stdout)["unfinished_shards"] == []
    before = tree_digest(out)
    assert _data("build", "qm7_b3lyp", *TINY, "--output", out).exit_code == 0
    assert tree_digest(out) == before
