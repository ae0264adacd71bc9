"""What a run is made of when it begins."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

import mlipilot.evaluation
from mlipilot.audit.files import files_below, write_json
from mlipilot.audit.manifest import MANIFEST, check_manifest, read_manifest, write_manifest
from mlipilot.campaign.spec import load_campaign
from mlipilot.controller.observer import Silent
from mlipilot.controller.prepare import build_data, create_run, prepare_data, write_modules
from mlipilot.datasets import DATASETS
from mlipilot.datasets.options import SALTS
from mlipilot.errors import InputError, PausedError
from mlipilot.paths import RunPaths

REPOSITORY = Path(__file__).resolve().parents[2]
QM7 = REPOSITORY / "campaigns" / "qm7_b3lyp.yaml"


def test_the_campaigns_values_are_in_the_runs_recipe_and_not_in_the_shipped_one(tmp_path: Path) -> None:
    campaign, run = load_campaign(QM7), RunPaths(tmp_path / "run")
    shipped = (campaign.recipe_path / "recipe.yaml").read_text()
    create_run(campaign, run)
    found = YAML(typ="safe").load((run.recipe / "recipe.yaml").read_text())
    assert found["normalisation"]["atomic_energy"] == "zero"
    assert found["normalisation"]["isolated_atom_ev"]["S"] == pytest.approx(-10832.99, abs=0.01)
    assert (campaign.recipe_path / "recipe.yaml").read_text() == shipped


def test_a_recipe_finds_in_the_toolkits_place_what_it_imports_and_no_more(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    for _ in range(2):  # as after a kill
        write_modules(run.modules)
    assert sorted(path.relative_to(run.modules).as_posix() for path in files_below(run.modules)) == [
        *("mlipilot/__init__.py", "mlipilot/checkpoint.py", "mlipilot/handover.py")
    ]
    assert list((run.modules / "nothing").iterdir()) == []
    code = "import mlipilot.handover, mlipilot.checkpoint; print(mlipilot.__file__)"
    alone = subprocess.run(
        [sys.executable, "-c", code],
        cwd=run.modules,  # -c: the working directory comes first
        capture_output=True,
        text=True,
        check=True,
    )
    assert alone.stdout.strip() == str(run.modules / "mlipilot/__init__.py")


@pytest.mark.parametrize(
    ("file", "given"), [("cu_emt", None), ("cu_emt", 7), ("qm7_b3lyp", None), ("qm7_b3lyp", 7)]
)
def test_each_run_draws_a_salt_unless_its_campaign_gives_one(
    file: str, given: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"dataset.options.salt={given}"] if given else []
    spec = load_campaign(REPOSITORY / "campaigns" / f"{file}.yaml", None, overrides).spec
    asked = []
    dataset = DATASETS[spec.dataset.name]
    monkeypatch.setitem(
        DATASETS,
        spec.dataset.name,
        replace(dataset, build=lambda options, *_: asked.append(options.salt)),
    )
    for number in (0, 1):
        run = RunPaths(tmp_path / str(number))
        run.data.mkdir(parents=True)
        shutil.copyfile(REPOSITORY / "scorecards" / "qm7_b3lyp.yaml", run.scorecard)
        build_data(run, spec, Silent())
    assert all(0 <= salt < SALTS for salt in asked)
    assert asked == [given, given] if given else asked[0] != asked[1]
    again = RunPaths(tmp_path / "again")
    again.data.mkdir(parents=True)
    shutil.copyfile(REPOSITORY / "scorecards" / "qm7_b3lyp.yaml", again.scorecard)
    build_data(again, spec, Silent(), again=True)
    assert asked[2] == given  # a run of an earlier version has none


@pytest.mark.parametrize("salt", [None, 5])
def test_a_replay_has_the_salt_of_the_run_that_it_replays(
    salt: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, run = RunPaths(tmp_path / "recorded"), RunPaths(tmp_path / "run")
    recorded.data.mkdir(parents=True)
    write_json(recorded.data / "provenance.json", {"options": {"salt": salt} if salt else {}})
    run.data.mkdir(parents=True)
    shutil.copyfile(REPOSITORY / "scorecards" / "qm7_b3lyp.yaml", run.scorecard)
    spec = load_campaign(QM7).spec
    spec = spec.model_copy(update={"pilot": spec.pilot.model_copy(update={"replay": recorded.root})})
    asked = []
    dataset = replace(DATASETS["qm7_b3lyp"], build=lambda options, *_: asked.append(options.salt))
    monkeypatch.setitem(DATASETS, "qm7_b3lyp", dataset)
    build_data(run, spec, Silent())
    assert asked == [salt]


def test_paths_of_a_data_set_are_seen_from_the_campaign_file() -> None:
    overrides = ["dataset.options={source: qm7, qm7: ../data/qm7.mat, seed: 3}"]
    options = load_campaign(QM7, None, overrides).spec.dataset.options
    assert options == {"source": "qm7", "qm7": str(REPOSITORY / "data" / "qm7.mat"), "seed": 3}


def test_a_value_that_the_recipe_has_not_is_refused_before_there_is_a_run() -> None:
    with pytest.raises(InputError, match=r"'recipe_values\.loss\.force'"):
        load_campaign(QM7, None, ["recipe_values={loss.force: 1.0}"])


@pytest.fixture
def with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run whose data set is sealed, without its reference values, which take no time here."""

    def write(_settings: object, output: Path) -> None:
        write_json(output, {"a": 3.59})

    stand_in = SimpleNamespace(write=write)
    monkeypatch.setattr(mlipilot.evaluation, "reference", stand_in, raising=False)
    campaign, run = load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml"), RunPaths(tmp_path / "run")
    create_run(campaign, run)
    (run.data / "train").mkdir(parents=True)
    (run.data / "train" / "train.xyz").write_text("labels")
    write_manifest(run.data)
    return run


@pytest.mark.parametrize(
    "left",
    [
        [],
        [".reference.json.a_cdefg8"],
        ["reference.json"],
        ["reference.json", f".{MANIFEST}.abcdefgh"],
    ],
)
def test_a_kill_while_reference_values_are_written_costs_only_them(
    with_data: RunPaths, left: list[str]
) -> None:
    spec = load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml").spec
    for name in left:
        (with_data.data / name).write_text("half of it")
    for _ in range(2):
        prepare_data(with_data, spec, Silent())
        assert check_manifest(with_data.data) == []
        assert set(read_manifest(with_data.data)) == {"train/train.xyz", "reference.json"}
    assert "3.59" in (with_data.data / "reference.json").read_text()


@pytest.mark.parametrize("spoilt", [".evil.json.abcdefgh", MANIFEST])
def test_other_changes_of_the_data_set_pause_the_run(with_data: RunPaths, spoilt: str) -> None:
    spec = load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml").spec
    if spoilt != MANIFEST:
        prepare_data(with_data, spec, Silent())
        with_data.protected.unlink()
    (with_data.data / spoilt).write_text("nonsense\n")
    with pytest.raises(PausedError, match="does not match its manifest"):
        prepare_data(with_data, spec, Silent())
