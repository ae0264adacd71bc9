"""Nothing is run from a record that does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.audit.manifest import write_manifest
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.paths import RunPaths
from mlipilot.reproduce.record import read_record
from tests.report.synthetic import SyntheticRun, make_spec


def test_the_incumbent_is_read_unless_an_iteration_is_named(run: RunPaths) -> None:
    assert read_record(run, run.lineage(0), None).iteration == 1
    record = read_record(run, run.lineage(0), 0)
    assert record.iteration == 0 and record.spec.seeds == [1, 2, 3] and record.image_sha256 is None
    assert record.training(2) == run.lineage(0).iteration(0) / "seed-2" / "train" / "attempt-1"


@pytest.mark.parametrize(
    "name",
    [
        "lineage-0/iterations/0000/recipe/recipe.yaml",
        "lineage-0/iterations/0000/seed-1/evaluate/attempt-1/output/metrics.json",
        # of another candidate: it has a part in the noise
        "lineage-0/iterations/0001/seed-1/evaluate/attempt-1/output/metrics.json",
        "lineage-0/iterations/0000/manifest-sha256.txt",
        "lineage-0/ledger.jsonl",
        "protected.json",
        "campaign.lock.yaml",
        "scorecard.yaml",
        "recipe/train.py",
        "data/provenance.json",
    ],
)
def test_one_changed_byte_is_refused_and_the_file_named(run: RunPaths, name: str) -> None:
    path: Path = run.root / name
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(CheckFailedError, match=path.name) as refused:
        read_record(run, run.lineage(0), 0)
    assert refused.value.exit_status == 1


def test_an_added_file_is_refused(run: RunPaths) -> None:
    (run.lineage(0).recipe(0) / "sitecustomize.py").write_text("import os")
    with pytest.raises(CheckFailedError, match=r"sitecustomize\.py"):
        read_record(run, run.lineage(0), 0)


def test_a_new_seal_over_another_recipe_does_not_help(run: RunPaths) -> None:
    directory = run.lineage(0).iteration(0)
    (directory / "recipe" / "train.py").write_text("print('mine')")
    write_manifest(directory)
    with pytest.raises(CheckFailedError, match=r"manifest-sha256\.txt: changed"):
        read_record(run, run.lineage(0), 0)


def test_a_recipe_that_changed_between_proposal_and_seal_is_refused(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    (made.lineage.recipe(0) / "train.py").write_text("print('mine')")
    made.candidate(0, 0.0)
    with pytest.raises(CheckFailedError, match="is not the recipe that was proposed"):
        read_record(made.run, made.lineage, 0)


def test_without_a_model_there_is_nothing_to_reproduce(run: RunPaths) -> None:
    for number in (2, 7):
        with pytest.raises(InputError, match=rf"iteration {number} has no measured model(.|\n)*0, 1"):
            read_record(run, run.lineage(0), number)


def test_a_seed_that_was_not_trained_is_refused(run: RunPaths) -> None:
    record = read_record(run, run.lineage(0), 0)
    assert record.chosen_seeds(None) == [1, 2, 3] and record.chosen_seeds(3) == [3]
    with pytest.raises(InputError, match="--seed 4: lineage-0 was trained with the seeds 1, 2, 3"):
        record.chosen_seeds(4)


def test_a_lineage_that_was_still_being_prepared(run: RunPaths) -> None:
    run.lineage(0).ledger.write_bytes(b"")
    with pytest.raises(InputError, match="still being prepared"):
        read_record(run, run.lineage(0), 0)
